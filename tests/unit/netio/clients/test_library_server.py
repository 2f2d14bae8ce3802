import errno
import os
import select
import socket
from collections.abc import Iterator

import pytest

from tcpcryptd.control.codec import Request
from tcpcryptd.control.libtcpcrypt import MAX_DATAGRAM, LibraryMessage, LibraryOption, decode_records
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionState, Disabled, Negotiated
from tcpcryptd.netio.clients import library_server
from tcpcryptd.netio.clients.control_handlers import Caller, ControlHandlers, Pages
from tcpcryptd.netio.clients.library_options import LibraryOptions
from tcpcryptd.netio.clients.library_server import ADDRESS, MAX_LISTINGS, MAX_WAITING, LibraryServer
from tcpcryptd.netio.clients.socket_options import SocketOptions
from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.records.address import Address
from tests.unit.control.daemon import FakeEngine, FakeOwners, connection

HOST = Address("192.0.2.1", 40000)
ROOM = bytes(1200)


def question(option: int = LibraryOption.SESSID, port: int = 80, data: bytes = ROOM, sequence: int = 9) -> bytes:
    return LibraryMessage(sequence, HOST, Address("192.0.2.1", port), 0, 0, option, data).encode()


class Library:
    """A server for connections to ports from 80 on, which are this user's, and a client."""

    def __init__(self, count: int = 3) -> None:
        self.engine = FakeEngine(*(connection(port) for port in range(80, 80 + count)))
        self.owners = FakeOwners(dict.fromkeys(range(80, 80 + count), os.getuid()))
        options = SocketOptions(self.engine, lambda local, cookie: None)
        self.handlers = ControlHandlers(self.engine, self.owners, options, dict)
        self.server = LibraryServer(0, LibraryOptions(self.engine, self.owners, options), self.list_sessions)
        self.address = self.server._socket.getsockname()
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.setblocking(False)

    def list_sessions(self, request: Request, caller: Caller) -> Pages:
        return self.handlers.handle(request, caller)

    def close(self) -> None:
        self.server.close()
        self.client.close()

    def ask(self, datagram: bytes) -> None:
        self.client.sendto(datagram, self.address)

    def work(self) -> int:
        """Has the server do all that it can; how often it was called."""
        turns = 0
        while select.select([self.server], [], [], 0)[0]:
            self.server.handle_ready()
            turns += 1
        return turns

    def answer(self) -> LibraryMessage | None:
        self.work()
        try:
            return LibraryMessage.decode(self.client.recv(MAX_DATAGRAM))
        except BlockingIOError:
            return None

    def decide(self, port: int, state: ConnectionState) -> None:
        info = connection(port, state)
        self.engine.known = [info if each.remote.port == port else each for each in self.engine.known]
        ends = Endpoint(*HOST), Endpoint("192.0.2.1", port)
        encrypted = state is ConnectionState.ENCRYPTED
        self.server.on_event(
            Negotiated(*ends, "crypt", bytes(20), "suite", "client")
            if encrypted
            else Disabled(*ends, "the peer does not speak tcpcrypt")
        )


@pytest.fixture
def library() -> Iterator[Library]:
    made = Library()
    yield made
    made.close()


def test_an_answer_repeats_the_question(library: Library) -> None:
    library.ask(question(sequence=2**32 - 1))
    answer = library.answer()
    assert answer == LibraryMessage(
        2**32 - 1, HOST, Address("192.0.2.1", 80), 0, 0, LibraryOption.SESSID, (80).to_bytes(20, "big")
    )


def test_a_refusal_has_a_number_and_no_data(library: Library) -> None:
    library.ask(question(port=99))
    answer = library.answer()
    assert answer is not None
    assert (answer.error, answer.data) == (errno.ENOENT, b"")


@pytest.mark.parametrize(
    "garbage", [b"", b"x", bytes(35), question()[:-1], question() + b"x", bytes(MAX_DATAGRAM + 1), bytes(9000)]
)
def test_garbage_is_not_answered(library: Library, garbage: bytes) -> None:
    library.ask(garbage)
    assert library.answer() is None
    library.ask(question())
    assert library.answer() is not None


def test_who_is_gone_is_not_answered(library: Library) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as short_lived:
        short_lived.sendto(question(LibraryOption.RESET), library.address)
    library.work()
    assert library.engine.actions == []


def test_a_handshake_that_ends_between_two_looks(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers go on while they are asked."""
    states = iter([ConnectionState.HANDSHAKE, ConnectionState.ENCRYPTED, ConnectionState.ENCRYPTED])
    monkeypatch.setattr(library.engine, "connection", lambda *_: connection(80, next(states)))
    library.ask(question())
    answer = library.answer()
    assert answer is not None
    assert (answer.error, answer.data) == (0, connection(80, ConnectionState.ENCRYPTED).session_id)


@pytest.mark.parametrize(("state", "error"), [(ConnectionState.ENCRYPTED, 0), (ConnectionState.PLAIN, errno.ENODATA)])
def test_the_answer_waits_for_the_handshake(library: Library, state: ConnectionState, error: int) -> None:
    library.engine.known.append(connection(90, ConnectionState.HANDSHAKE))
    library.owners._owners[90] = os.getuid()
    library.ask(question(port=90))
    assert library.answer() is None
    library.decide(90, state)
    answer = library.answer()
    assert answer is not None
    assert answer.error == error


def test_those_who_wait_are_bounded(library: Library) -> None:
    library.engine.known.append(connection(90, ConnectionState.HANDSHAKE))
    library.engine.known.append(connection(91, ConnectionState.HANDSHAKE))
    library.owners._owners |= {90: os.getuid(), 91: os.getuid()}
    for sequence in range(MAX_WAITING):
        library.ask(question(port=90, sequence=sequence))
        assert library.answer() is None
    library.ask(question(port=91))
    answers = [library.answer() for _ in range(MAX_WAITING)]
    assert [(answer.sequence, answer.error) for answer in answers if answer is not None] == [
        (sequence, errno.EAGAIN) for sequence in range(MAX_WAITING)
    ]
    library.decide(91, ConnectionState.ENCRYPTED)
    assert library.answer() is not None


def test_the_list_of_connections(library: Library) -> None:
    library.engine.known += [
        connection(85, ConnectionState.PLAIN),
        connection(86),
        connection(87, address="2001:db8::1"),
    ]
    library.owners._owners |= {86: os.getuid() + 1, 87: os.getuid()}
    library.ask(question(LibraryOption.NETSTAT))
    answer = library.answer()
    assert answer is not None
    assert answer.error == 0
    seen = {record.destination.port for record in decode_records(answer.data)}
    # Root sees other users' too; of IPv6 the library knows nothing.
    assert seen == {80, 81, 82} | ({86} if os.getuid() == 0 else set())


def test_a_long_list_is_made_in_parts_and_cut_to_the_room() -> None:
    library = Library(count=1000)
    try:
        library.ask(question(LibraryOption.NETSTAT, data=bytes(100)))
        library.server.handle_ready()
        with pytest.raises(BlockingIOError):
            library.client.recv(1)
        answer = library.answer()
        assert answer is not None
        assert [record.destination.port for record in decode_records(answer.data)] == [80, 81]
        # Once the room is full, the rest of the connections is not looked at.
        for _ in range(MAX_LISTINGS + 1):
            library.ask(question(LibraryOption.NETSTAT, port=0, data=ROOM))
        assert library.work() < 200
    finally:
        library.close()


def test_lists_at_once_are_bounded(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(request: Request, caller: Caller) -> Pages:
        while True:
            yield {"sessions": []}

    monkeypatch.setattr(library.server, "_list_sessions", endless)
    for _ in range(MAX_LISTINGS + 1):
        library.ask(question(LibraryOption.NETSTAT))
    for _ in range(MAX_LISTINGS + 1):
        library.server.handle_ready()
    answer = LibraryMessage.decode(library.client.recv(MAX_DATAGRAM))
    assert answer.error == errno.EAGAIN
    # It is not alone on the loop: a turn takes one page.
    assert select.select([library.server], [], [], 0)[0]


def test_a_bug_does_not_stop_the_daemon(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("secret")

    monkeypatch.setattr(library_server, "datagram_owner", fail)
    for _ in range(2):
        library.ask(question())
    assert library.answer() is None
    assert [record.getMessage() for record in caplog.records] == [
        "a request of the library failed with RuntimeError; further ones are not reported"
    ]


def test_a_port_that_is_taken(library: Library) -> None:
    with pytest.raises(DaemonError) as caught:
        LibraryServer(library.address[1], library.server._options, library.list_sessions)
    assert caught.value.exit_code == ExitCode.BUSY
    assert str(library.address[1]) in caught.value.message


def test_only_loopback_can_reach_it(library: Library) -> None:
    assert library.address[0] == ADDRESS
    assert library.server._socket.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
