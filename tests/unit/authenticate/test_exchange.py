"""Authentication over socket pairs, with honest and dishonest peers."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.authenticate import (
    Authenticated,
    AuthenticationFailed,
    Credentials,
    Ed25519Key,
    PresharedKey,
    Role,
    async_authenticate,
    authenticate,
    generate_private_key,
    public_key,
)
from tcpcryptd.authenticate.exchange import Exchange, Receive, Send, exchange
from tcpcryptd.sockopt import Info, NotEncrypted

SESSION, OTHER_SESSION = bytes(range(20)), bytes(20)
NONCES = bytes(32), b"\x01" * 32
SECRET = b"0123456789abcdef"
KEYS = [generate_private_key() for _ in range(3)]
PUBLIC = [public_key(key) for key in KEYS]

Outcome = Authenticated | AuthenticationFailed


class Side:
    """One side of an exchange, fed by hand."""

    def __init__(self, steps: Exchange) -> None:
        self._steps = steps
        self._waiting = b""
        self._step: Send | Receive | None = next(steps)
        self.outcome: Outcome | None = None

    def run(self, received: bytes) -> bytes:
        """Takes bytes from the peer and gives those for it."""
        self._waiting += received
        sent = b""
        while self._step is not None:
            answer = b""
            if isinstance(self._step, Send):
                sent += self._step.data
            elif len(self._waiting) < self._step.size:
                break
            else:
                answer, self._waiting = self._waiting[: self._step.size], self._waiting[self._step.size :]
            try:
                self._step = self._steps.send(answer)
            except StopIteration as done:
                self._step, self.outcome = None, done.value
            except AuthenticationFailed as failed:
                self._step, self.outcome = None, failed
        return sent


def meet(client: Exchange, server: Exchange) -> tuple[Outcome | None, Outcome | None]:
    """Lets two sides talk until neither has anything to say."""
    left, right = Side(client), Side(server)
    to_right = left.run(b"")
    while to_right:
        to_left = right.run(to_right)
        to_right = left.run(to_left) if to_left else b""
    return left.outcome, right.outcome


def sides(ours: Credentials, theirs: Credentials, session: bytes = SESSION) -> tuple[Outcome | None, Outcome | None]:
    return meet(
        exchange(Role.CLIENT, ours, SESSION, NONCES[0]),
        exchange(Role.SERVER, theirs, session, NONCES[1]),
    )


def failed(outcomes: tuple[Outcome | None, Outcome | None]) -> bool:
    return all(isinstance(outcome, AuthenticationFailed) for outcome in outcomes)


def test_preshared_key() -> None:
    done = Authenticated(SESSION, b"")
    assert sides(PresharedKey(SECRET), PresharedKey(SECRET)) == (done, done)
    assert failed(sides(PresharedKey(SECRET), PresharedKey(SECRET[::-1])))


def test_ed25519() -> None:
    ours, theirs = Ed25519Key(KEYS[0], [PUBLIC[1]]), Ed25519Key(KEYS[1], [PUBLIC[2], PUBLIC[0]])
    assert sides(ours, theirs) == (Authenticated(SESSION, PUBLIC[1]), Authenticated(SESSION, PUBLIC[0]))
    assert failed(sides(ours, Ed25519Key(KEYS[1], [PUBLIC[2]])))
    assert failed(sides(Ed25519Key(KEYS[0], [PUBLIC[2]]), theirs))
    assert failed(sides(ours, Ed25519Key(KEYS[2], [PUBLIC[0]])))


def test_somebody_in_the_middle_has_two_sessions() -> None:
    assert failed(sides(PresharedKey(SECRET), PresharedKey(SECRET), OTHER_SESSION))
    ours, theirs = Ed25519Key(KEYS[0], [PUBLIC[1]]), Ed25519Key(KEYS[1], [PUBLIC[0]])
    assert failed(sides(ours, theirs, OTHER_SESSION))


def test_methods_do_not_mix() -> None:
    assert failed(sides(PresharedKey(SECRET), Ed25519Key(KEYS[1], [PUBLIC[0]])))


@pytest.mark.parametrize("role", list(Role))
def test_a_peer_in_the_same_role(role: Role) -> None:
    first, second = (exchange(role, PresharedKey(SECRET), SESSION, nonce) for nonce in NONCES)
    if role is Role.CLIENT:
        assert failed(meet(first, second))
    else:
        # Both wait: the timeout ends that.
        assert meet(first, second) == (None, None)


@pytest.mark.parametrize("credentials", [PresharedKey(SECRET), Ed25519Key(KEYS[0], [PUBLIC[0]])])
def test_reflection(credentials: Credentials) -> None:
    """What a client sends comes back to it, as it is or with the types that a server would use."""
    for shift in (0, 1):
        client = Side(exchange(Role.CLIENT, credentials, SESSION, NONCES[0]))
        sent = client.run(b"")
        while sent and client.outcome is None:
            kind, rest = sent[0], sent[1:]
            sent = client.run(bytes((kind + shift,)) + rest)
        assert isinstance(client.outcome, AuthenticationFailed)


def test_a_proof_is_good_for_one_role() -> None:
    """An attacker passes the client's own proof back, in a hello of its own with another nonce."""
    client = Side(exchange(Role.CLIENT, PresharedKey(SECRET), SESSION, NONCES[0]))
    hello = client.run(b"")
    forged = bytes((2,)) + hello[1:5] + NONCES[1]
    proof = client.run(forged)
    assert proof[0] == 3
    client.run(bytes((4,)) + proof[1:])
    assert isinstance(client.outcome, AuthenticationFailed)


def test_the_server_proves_nothing_to_a_stranger() -> None:
    server = Side(exchange(Role.SERVER, PresharedKey(SECRET), SESSION, NONCES[1]))
    hello = bytes((1,)) + struct.pack(">H", 34) + bytes((1, 1)) + NONCES[0]
    assert len(server.run(hello)) == 3 + 34
    answer = server.run(bytes((3,)) + struct.pack(">H", 32) + bytes(32))
    assert answer == b"\x06\x00\x00"
    assert isinstance(server.outcome, AuthenticationFailed)


@given(st.binary(max_size=300), st.sampled_from(list(Role)))
def test_noise(noise: bytes, role: Role) -> None:
    side = Side(exchange(role, Ed25519Key(KEYS[0], PUBLIC), SESSION, NONCES[0]))
    side.run(noise)
    assert side.outcome is None or isinstance(side.outcome, AuthenticationFailed)


def test_a_message_is_bounded() -> None:
    side = Side(exchange(Role.SERVER, PresharedKey(SECRET), SESSION, NONCES[0]))
    assert side.run(b"\x01\xff\xff") == b"\x06\x00\x00"
    assert isinstance(side.outcome, AuthenticationFailed)


def test_bad_keys() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        PresharedKey(b"password")
    with pytest.raises(ValueError, match="32"):
        Ed25519Key(KEYS[0], [b"short"])
    with pytest.raises(ValueError, match="32"):
        Ed25519Key(b"short", [])


def test_secrets_do_not_show() -> None:
    shown = repr(PresharedKey(SECRET)) + repr(Ed25519Key(KEYS[0], PUBLIC))
    assert repr(SECRET)[2:-1] not in shown
    assert KEYS[0].hex() not in shown


ENCRYPTED = Info(True, SESSION, "suite", "client", False, False, None)


@pytest.fixture
def encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def async_known(sock: object, timeout: float) -> Info:
        return ENCRYPTED

    monkeypatch.setattr("tcpcryptd.authenticate.transport.require", lambda sock, timeout: ENCRYPTED)
    monkeypatch.setattr("tcpcryptd.authenticate.transport.async_require", async_known)


def in_thread(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


@pytest.mark.usefixtures("encrypted")
def test_over_a_socket_and_streams() -> None:
    left, right = socket.socketpair()
    left.settimeout(7.5)
    results: list[Authenticated] = []

    async def serve() -> None:
        reader, writer = await asyncio.open_connection(sock=right)
        results.append(await async_authenticate(reader, writer, PresharedKey(SECRET), Role.SERVER))
        writer.write(await reader.readexactly(5))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    thread = in_thread(lambda: asyncio.run(serve()))
    with left:
        results.append(authenticate(left, PresharedKey(SECRET), Role.CLIENT))
        assert left.gettimeout() == 7.5
        # Nothing of what follows was read.
        left.sendall(b"hello")
        assert left.recv(5) == b"hello"
    thread.join(10)
    assert results == [Authenticated(SESSION, b"")] * 2


@pytest.mark.usefixtures("encrypted")
def test_silence_ends() -> None:
    left, right = socket.socketpair()
    with left, right, pytest.raises(TimeoutError):
        authenticate(left, PresharedKey(SECRET), Role.CLIENT, 0.05)


@pytest.mark.usefixtures("encrypted")
def test_one_byte_at_a_time_ends() -> None:
    left, right = socket.socketpair()
    stop = threading.Event()

    def drip() -> None:
        for byte in struct.pack(">BH", 2, 200):
            right.send(bytes((byte,)))
        while not stop.wait(0.01):
            right.send(b"\0")

    thread = in_thread(drip)
    with left, right:
        with pytest.raises(TimeoutError):
            authenticate(left, PresharedKey(SECRET), Role.CLIENT, 0.2)
        stop.set()
        thread.join(10)


@pytest.mark.usefixtures("encrypted")
def test_a_peer_that_hangs_up() -> None:
    left, right = socket.socketpair()
    right.shutdown(socket.SHUT_WR)
    with left, right, pytest.raises(AuthenticationFailed, match="hung up"):
        authenticate(left, PresharedKey(SECRET), Role.CLIENT)


def test_not_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPCRYPTD_SOCKET", "/nonexistent/control.sock")
    left, right = socket.socketpair()
    with left, right, pytest.raises(NotEncrypted, match="not running"):
        authenticate(left, PresharedKey(SECRET), Role.CLIENT)
