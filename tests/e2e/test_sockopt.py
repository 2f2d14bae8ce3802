"""The application interface across real daemons: every option, who may use it, and what applications build on it."""

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from tcpcryptd import sockopt
from tcpcryptd.sockopt import SocketOption
from tests.e2e.harness import MARKER, Host, Network, echo_server, read_all, serve, wait_until
from tests.e2e.harness.users import as_user

RSA = bytes.fromhex("020404")
ORIGINAL_SUITE = bytes.fromhex("00010001")
USERS = (41001, 41002)

At = Callable[[Host], None]
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """From now on the API talks to the daemon of a host."""

    def go(host: Host) -> None:
        monkeypatch.setenv("TCPCRYPTD_SOCKET", str(host.namespace.run_directory / "tcpcryptd/control.sock"))

    return go


class Api:
    """getsockopt and setsockopt for the sockets of two hosts."""

    def __init__(self, network: Network, at: At) -> None:
        self.network = network
        self.at = at

    def get(self, host: Host, sock: socket.socket, option: SocketOption) -> object:
        self.at(host)
        return sockopt.getsockopt(sock, option)

    def set(self, host: Host, sock: socket.socket, option: SocketOption, value: object = 1) -> None:
        self.at(host)
        sockopt.setsockopt(sock, option, value)  # type: ignore[arg-type]

    def info(self, host: Host, sock: socket.socket) -> sockopt.Info:
        self.at(host)
        return sockopt.info(sock)

    @contextlib.contextmanager
    def connection(
        self,
        client: dict[SocketOption, object] | None = None,
        server: dict[SocketOption, object] | None = None,
        family: int = socket.AF_INET,
    ) -> Iterator[Pair]:
        """A connection whose client and whose listener had options set before."""
        network = self.network
        with network.server.listen(0, family) as listener, network.client.namespace.socket(family) as ours:
            ours.settimeout(30)
            for option, value in (server or {}).items():
                self.set(network.server, listener, option, value)
            for option, value in (client or {}).items():
                self.set(network.client, ours, option, value)
            ours.connect((network.server.address(family), listener.getsockname()[1]))
            theirs, _ = listener.accept()
            with theirs:
                theirs.settimeout(30)
                yield ours, theirs


@pytest.fixture
def api(encrypted: Network, at: At) -> Api:
    return Api(encrypted, at)


def talk(ours: socket.socket, theirs: socket.socket) -> None:
    """Afterwards both daemons have had an authentic segment, which lets them keep the session."""
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        sender.sendall(b"x")
        assert receiver.recv(1) == b"x"


def error_of(action: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as raised:  # noqa: PT011 (the errno is what is looked at)
        action()
    return raised.value.errno


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_what_a_connection_tells(api: Api, family: int) -> None:
    with api.connection(family=family) as (ours, theirs):
        here, there = api.info(api.network.client, ours), api.info(api.network.server, theirs)
        assert here.encrypted
        assert there.encrypted
        assert here.session_id == there.session_id
        assert here.fingerprint() == there.fingerprint()
        assert (here.role, there.role) == ("client", "server")
        assert here.post_quantum
        assert there.post_quantum
        for host, sock, mine in ((api.network.client, ours, True), (api.network.server, theirs, False)):
            assert api.get(host, sock, SocketOption.TCP_CRYPT_SESSID) == here.session_id
            key = api.get(host, sock, SocketOption.TCP_CRYPT_PUBKEY)
            assert isinstance(key, sockopt.PublicKey)
            assert key.mine is mine
            netstat = api.get(host, sock, SocketOption.TCP_CRYPT_NETSTAT)
            assert netstat == [
                sockopt.Netstat(sock.getsockname()[:2], sock.getpeername()[:2], here.session_id)  # type: ignore[arg-type]
            ]
        keys = [
            api.get(api.network.client, ours, SocketOption.TCP_CRYPT_PUBKEY),
            api.get(api.network.server, theirs, SocketOption.TCP_CRYPT_PUBKEY),
        ]
        assert keys[0][1] == keys[1][1]  # type: ignore[index]


@pytest.mark.parametrize("side", ["client", "server"])
def test_enable(api: Api, side: str) -> None:
    with api.connection(**{side: {SocketOption.TCP_CRYPT_ENABLE: 0}}) as (ours, theirs):  # type: ignore[arg-type]
        host, sock = (api.network.client, ours) if side == "client" else (api.network.server, theirs)
        known = api.info(host, sock)
        assert not known.encrypted
        assert known.reason == "the application turned encryption off"
        assert not api.info(api.network.client, ours).encrypted
        assert api.get(host, sock, SocketOption.TCP_CRYPT_ENABLE) == 0
        assert error_of(lambda: api.get(host, sock, SocketOption.TCP_CRYPT_SESSID)) == errno.ENODATA
        with pytest.raises(sockopt.NotEncrypted, match="turned encryption off"):
            sockopt.require(sock)
    with api.connection() as (ours, _):
        assert api.info(api.network.client, ours).encrypted


def test_ipv4_on_an_ipv6_socket(api: Api) -> None:
    network = api.network
    for enable in (0, 1):
        with network.server.listen(0, socket.AF_INET6) as listener:
            api.set(network.server, listener, SocketOption.TCP_CRYPT_ENABLE, enable)
            with network.client.connect(network.server.ipv4, listener.getsockname()[1]) as ours:
                theirs, _ = listener.accept()
                with theirs:
                    assert theirs.getpeername()[0] == f"::ffff:{network.client.ipv4}"
                    assert api.info(network.server, theirs).encrypted == enable
                    assert api.info(network.client, ours).encrypted == enable


def test_support(api: Api) -> None:
    support = SocketOption.TCP_CRYPT_SUPPORT
    with api.connection({support: 1}) as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        assert api.get(api.network.client, ours, support) == 0
        assert api.get(api.network.server, theirs, support) == 1
    with api.connection({support: 2}) as (ours, _):
        known = api.info(api.network.client, ours)
        assert not known.encrypted
        assert "not aware" in (known.reason or "")
    with api.connection({support: 2}, {support: 2}) as (ours, theirs):
        assert api.info(api.network.client, ours).peer_aware
        assert api.info(api.network.server, theirs).peer_aware


MODES = [option for option in SocketOption if "CMODE" in option.name]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_client_mode(api: Api, mode: SocketOption) -> None:
    """Each mode is kept, inherited and has its effect; the exchange has a client whatever the modes are."""
    with api.connection(server={mode: 1}) as (ours, theirs):
        switched = "ALWAYS" in mode.name
        assert api.info(api.network.client, ours).role == ("server" if switched else "client")
        assert api.info(api.network.server, theirs).role == ("client" if switched else "server")
        assert [api.get(api.network.server, theirs, each) for each in MODES] == [each is mode for each in MODES]
        talk(ours, theirs)
    with api.connection(client={mode: 1}) as (ours, _):
        known = api.info(api.network.client, ours)
        # The server does not switch this time: who never wants to be the client cannot agree. A resumed session may.
        assert known.encrypted == (mode is not SocketOption.TCP_CRYPT_CMODE_NEVER)
        if mode is SocketOption.TCP_CRYPT_CMODE_NEVER_NK:
            assert known.resumed


def test_mechanisms(api: Api) -> None:
    conf = SocketOption.TCP_CRYPT_CONF
    with api.connection(server={SocketOption.TCP_CRYPT_PKCONF: [RSA]}) as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        assert api.get(api.network.client, ours, conf)[0] == RSA  # type: ignore[index]
        assert api.get(api.network.server, theirs, SocketOption.TCP_CRYPT_PKCONF) == (RSA,)
    for side, option in (("client", SocketOption.TCP_CRYPT_CCONF), ("server", SocketOption.TCP_CRYPT_SCONF)):
        with api.connection(**{side: {option: [ORIGINAL_SUITE], SocketOption.TCP_CRYPT_NOCACHE: 1}}) as (ours, _):  # type: ignore[arg-type]
            assert api.info(api.network.client, ours).encrypted
            assert api.get(api.network.client, ours, conf)[1] == ORIGINAL_SUITE  # type: ignore[index]


def test_resumption(api: Api) -> None:
    def resumed(
        client: dict[SocketOption, object] | None = None, server: dict[SocketOption, object] | None = None
    ) -> bool:
        with api.connection(client, server) as (ours, theirs):
            known = api.info(api.network.client, ours)
            assert known.encrypted
            talk(ours, theirs)
            if known.resumed:
                assert error_of(lambda: sockopt.getsockopt(ours, sockopt.TCP_CRYPT_PUBKEY)) == errno.ENODATA
                assert sockopt.getsockopt(ours, sockopt.TCP_CRYPT_CONF).public_key_spec is None
            return known.resumed

    no_cache: dict[SocketOption, object] = {SocketOption.TCP_CRYPT_NOCACHE: 1}
    assert not resumed(client=no_cache)
    assert not resumed()
    assert resumed()
    assert not resumed(server=no_cache)
    with api.connection() as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        talk(ours, theirs)
        api.set(api.network.client, ours, SocketOption.TCP_CRYPT_CACHE_FLUSH)
    assert not resumed()


def forge_reset(network: Network, ours: socket.socket) -> None:
    """Sends the server an RST that fits the client's next sequence number, without a MAC."""
    with network.client.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", 3))
        wire.settimeout(10)
        ours.sendall(b"so that there is a segment")
        while True:
            frame = Ether(wire.recv(65536))
            if TCP in frame and frame[TCP].sport == ours.getsockname()[1] and bytes(frame[TCP].payload):
                break
        segment = frame[TCP]
        forged = Ether(src=frame.src, dst=frame.dst) / IP(src=frame[IP].src, dst=frame[IP].dst)
        following = segment.seq + len(bytes(segment.payload))
        forged /= TCP(sport=segment.sport, dport=segment.dport, seq=following & 0xFFFFFFFF, flags="R")
        wire.send(bytes(forged))


@pytest.mark.parametrize("secure", ["before", "later", "never"])
def test_secure_reset(api: Api, secure: str) -> None:
    before: dict[SocketOption, object] = {SocketOption.TCP_CRYPT_SECURST: 1} if secure == "before" else {}
    with api.connection(server=before) as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        assert api.info(api.network.server, theirs).encrypted
        if secure == "later":
            api.set(api.network.server, theirs, SocketOption.TCP_CRYPT_SECURST)
        assert api.get(api.network.server, theirs, SocketOption.TCP_CRYPT_SECURST) == (secure != "never")
        forge_reset(api.network, ours)
        if secure == "never":
            with pytest.raises(ConnectionResetError):
                read_all(theirs)
        else:
            theirs.sendall(b"still here")
            assert ours.recv(100) == b"still here"


def test_reset_and_new_keys(api: Api) -> None:
    with api.connection() as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        api.set(api.network.client, ours, SocketOption.TCP_CRYPT_REKEY)
        ours.sendall(MARKER)
        assert theirs.recv(100) == MARKER
        api.set(api.network.server, theirs, SocketOption.TCP_CRYPT_RESET)
        for end in (ours, theirs):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_errors(api: Api, at: At) -> None:
    client = api.network.client
    with api.connection() as (ours, _), client.namespace.socket(socket.AF_INET) as free:
        assert api.info(client, ours).encrypted
        for option in (sockopt.TCP_CRYPT_ENABLE, sockopt.TCP_CRYPT_SUPPORT, sockopt.TCP_CRYPT_CMODE_ALWAYS):
            assert error_of(lambda option=option: api.set(client, ours, option)) == errno.EISCONN  # type: ignore[misc]
        for option in (sockopt.TCP_CRYPT_SESSID, sockopt.TCP_CRYPT_PUBKEY, sockopt.TCP_CRYPT_CONF):
            assert error_of(lambda option=option: api.get(client, free, option)) == errno.ENOTCONN  # type: ignore[misc]
            assert error_of(lambda option=option: api.set(client, free, option)) == errno.ENOPROTOOPT  # type: ignore[misc]
        assert error_of(lambda: api.set(client, free, sockopt.TCP_CRYPT_RESET)) == errno.ENOTCONN
        assert error_of(lambda: api.set(client, free, sockopt.TCP_CRYPT_ENABLE, 2)) == errno.EINVAL
        assert error_of(lambda: api.set(client, free, sockopt.TCP_CRYPT_PKCONF, [b"1234"])) == errno.EINVAL
        with client.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            assert error_of(lambda: api.get(client, datagrams, sockopt.TCP_CRYPT_ENABLE)) == errno.EOPNOTSUPP
        with socket.socket() as elsewhere:
            assert error_of(lambda: api.get(client, elsewhere, sockopt.TCP_CRYPT_ENABLE)) == errno.EACCES
        with client.namespace.socket(socket.AF_INET) as closed:
            pass
        assert error_of(lambda: api.get(client, closed, sockopt.TCP_CRYPT_ENABLE)) == errno.EBADF
        with pytest.raises(OSError, match="not connected"):
            sockopt.info(free)
    assert client.daemons[0].stop() == 0
    at(client)
    with client.namespace.socket(socket.AF_INET) as free:
        assert error_of(lambda: sockopt.getsockopt(free, sockopt.TCP_CRYPT_ENABLE)) == errno.ENOPROTOOPT
        with pytest.raises(sockopt.DaemonNotRunning):
            sockopt.info(free)
        with pytest.raises(sockopt.NotEncrypted, match="not running"):
            sockopt.require(free)


def test_without_a_daemon_at_the_peer(network: Network, at: At) -> None:
    network.client.start_daemon()
    with Api(network, at).connection() as (ours, _):
        at(network.client)
        known = sockopt.info(ours)
        assert not known.encrypted
        assert known.reason == "the peer does not speak tcpcrypt"


def test_asyncio(api: Api, at: At) -> None:
    async def ask(sock: socket.socket) -> sockopt.Info:
        _, writer = await asyncio.open_connection(sock=sock)
        known = await sockopt.async_require(writer)
        assert await sockopt.async_info(writer.transport) == known
        assert await sockopt.async_getsockopt(writer, sockopt.TCP_CRYPT_SESSID) == known.session_id
        writer.close()
        await writer.wait_closed()
        return known

    with api.connection() as (ours, theirs):
        there = api.info(api.network.server, theirs)
        at(api.network.client)
        copy = ours.dup()
        copy.setblocking(False)
        assert asyncio.run(ask(copy)).session_id == there.session_id


STRANGER = """
import sys
from tcpcryptd.records.address import Address
from tcpcryptd.control.client import ControlClient
from tcpcryptd.control.errors import RequestRefused
from tcpcryptd.control.socket_option import SocketOption
ends = {"local": Address(sys.argv[1], int(sys.argv[2])), "remote": Address(sys.argv[3], int(sys.argv[4]))}
option = SocketOption[sys.argv[5]]
with ControlClient() as client:
    for command, value in (("get_option", {}), ("set_option", {"value": 1})):
        try:
            client.request(command, {"option": option, **value, **ends})
            print("done")
        except RequestRefused as refused:
            print(refused.name)
"""
OWNER = """
import socket, sys
from tcpcryptd import sockopt
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sockopt.setsockopt(sock, sockopt.TCP_CRYPT_SECURST, 1)
print(sockopt.require(sock).session_id.hex(), len(sockopt.getsockopt(sock, sockopt.TCP_CRYPT_NETSTAT)))
print(*sock.getsockname(), flush=True)
sockopt.setsockopt(sock, sockopt.TCP_CRYPT_CACHE_FLUSH, 1)
try:
    sockopt.setsockopt(socket.socket(), sockopt.TCP_CRYPT_CACHE_FLUSH, 1)
except OSError as error:
    print(error.errno, flush=True)
sock.recv(1)
"""


def run_as(user: int, program: str, *arguments: object) -> list[str]:
    return [*as_user(user), sys.executable, "-c", program, *map(str, arguments)]


def test_users_have_their_own_sockets(encrypted: Network, directory: Path) -> None:
    """The owner uses its socket; another user, who knows the connection's ends, is refused; root is not."""
    client, server = encrypted.client, encrypted.server
    output = directory / "owner"
    with serve(server.listen(0), echo_server) as port, output.open("wb") as file:
        client.namespace.spawn(run_as(USERS[0], OWNER, server.ipv4, port), stdout=file.fileno(), log=directory / "log")
        wait_until(lambda: output.read_text().count("\n") == 3, "the owner has asked")
        identity, ends, flush = output.read_text().splitlines()
        session, count = identity.split()
        assert [each.session_id for each in client.sessions()] == [session]
        assert count == "1"
        assert int(flush) == errno.EPERM
        for user, outcome in ((USERS[0], "done done"), (USERS[1], "EACCES EACCES"), (0, "done done")):
            stranger = run_as(user, STRANGER, *ends.split(), server.ipv4, port, "TCP_CRYPT_SECURST")
            assert client.run(stranger).stdout.split() == outcome.split()
        seen = run_as(USERS[1], STRANGER, *ends.split(), server.ipv4, port, "TCP_CRYPT_SESSID")
        assert client.run(seen).stdout.split()[0] == "EACCES"


def example(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"examples.{name}", *map(str, arguments)]


@pytest.mark.parametrize("method", ["secret", "key"])
def test_examples(encrypted: Network, directory: Path, method: str) -> None:
    client, server = encrypted.client, encrypted.server
    if method == "secret":
        (directory / "secret").write_bytes(bytes(range(32)))
        (directory / "other").write_bytes(bytes(32))
        ours = theirs = ["--secret", directory / "secret"]
        wrong = ["--secret", directory / "other"]
    else:
        keys = [
            client.run(example("make_key", directory / name)).stdout.strip() for name in ("ours", "theirs", "other")
        ]
        ours = ["--key", directory / "ours", "--peer", keys[1]]
        theirs = ["--key", directory / "theirs", "--peer", keys[0]]
        wrong = ["--key", directory / "other", "--peer", keys[1]]
    output = directory / "output"
    with output.open("wb") as file:
        server.namespace.spawn(example("echo_server", *theirs, 7000), stdout=file.fileno(), log=directory / "log")
    server.wait_listening(7000)
    answer = client.run(example("echo_client", *ours, server.ipv4, 7000, "hello there")).stdout.splitlines()
    assert answer[0].startswith("authenticated, session ")
    assert answer[1:] == ["hello there"]
    refused = client.run(example("echo_client", *wrong, server.ipv4, 7000, "hello there"), check=False)
    assert refused.returncode == 1
    assert "refused our proof" in refused.stderr
    wait_until(lambda: output.read_text().count("\n") == 3, "the server has seen both")
    assert "has not proved" in output.read_text()
