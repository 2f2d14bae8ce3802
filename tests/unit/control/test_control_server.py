import contextlib
import errno
import json
import os
import resource
import select
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcpcryptd.control.client import ControlClient
from tcpcryptd.control.codec import MAX_LINE, Request
from tcpcryptd.control.errors import ControlError, DaemonNotRunning, RequestRefused
from tcpcryptd.netio.clients import control_server
from tcpcryptd.netio.clients.control_connection import RequestHandler
from tcpcryptd.netio.clients.control_handlers import Caller, Pages
from tcpcryptd.netio.clients.control_server import MAX_CLIENTS, MAX_CLIENTS_PER_USER, ControlServer
from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.records.address import Address
from tests.unit.control.daemon import RunningServer, StartServer, connection, handlers

COUNTERS = b'{"version":1,"id":%d,"command":"counters"}\n'
SECONDS = 10.0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    running = []

    def run(handle: RequestHandler | None = None) -> RunningServer:
        running.append(RunningServer(tmp_path / "control.sock", handle))
        return running[-1]

    yield run
    for server in running:
        server.stop()


@contextlib.contextmanager
def raw_client(server: RunningServer) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(str(server.path))
        yield client


def receive_line(client: socket.socket) -> dict[str, object]:
    data = b""
    while not data.endswith(b"\n"):
        more = client.recv(1)
        assert more, "the server hung up"
        data += more
    message: dict[str, object] = json.loads(data)
    return message


def is_dropped(client: socket.socket) -> bool:
    """Reads to the end; False when the end does not come."""
    try:
        while client.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def errno_of(reply: dict[str, object]) -> object:
    error = reply["error"]
    assert isinstance(error, dict)
    return error["errno"]


def assert_serves(server: RunningServer) -> None:
    with ControlClient(server.path, SECONDS) as client:
        assert client.counters() == {"plain": 3}


def test_it_answers(start: StartServer) -> None:
    server = start(handlers(*map(connection, range(1, 301))).handle)
    with ControlClient(server.path, SECONDS) as client:
        assert client.counters() == {"plain": 3}
        assert [record.remote.port for record in client.sessions()] == list(range(1, 301))


def test_anybody_may_connect(start: StartServer) -> None:
    assert stat.S_IMODE(start().path.stat().st_mode) == 0o666


def test_the_callers_user_is_known(start: StartServer) -> None:
    callers: list[Caller] = []

    def handle(request: Request, caller: Caller) -> Pages:
        callers.append(caller)
        return iter([{"counters": {"plain": 3}}])

    assert_serves(start(handle))
    assert [caller.user_id for caller in callers] == [os.geteuid()]


def test_requests_can_be_sent_ahead(start: StartServer) -> None:
    with raw_client(start()) as client:
        client.sendall(b"".join(COUNTERS % number for number in range(200)))
        assert [receive_line(client)["id"] for _ in range(200)] == list(range(200))


def test_a_half_closed_client_gets_its_answer(start: StartServer) -> None:
    with raw_client(start()) as client:
        client.sendall(COUNTERS % 5)
        client.shutdown(socket.SHUT_WR)
        assert receive_line(client)["id"] == 5
        assert is_dropped(client)


def test_a_refusal_reaches_the_client(start: StartServer) -> None:
    with ControlClient(start().path, SECONDS) as client:
        with pytest.raises(RequestRefused) as caught:
            client.session(Address("192.0.2.1", 40000), Address("192.0.2.1", 99))
        assert caught.value.errno == errno.ENOENT
        assert client.counters() == {"plain": 3}


def test_garbage_gets_an_answer_and_does_no_harm(start: StartServer) -> None:
    server = start()
    with raw_client(server) as client:
        client.sendall(b"\n\xff\n[]\n" + COUNTERS % 9)
        assert [errno_of(receive_line(client)) for _ in range(3)] == ["EBADMSG"] * 3
        assert receive_line(client)["id"] == 9
    assert_serves(server)


def test_an_endless_line_is_cut_off(start: StartServer) -> None:
    server = start()
    with raw_client(server) as client:
        client.sendall(b"x" * MAX_LINE)
        assert errno_of(receive_line(client)) == "EMSGSIZE"
        assert is_dropped(client)
    assert_serves(server)


def test_a_flood_without_reading_is_not_buffered(start: StartServer) -> None:
    server = start()
    with raw_client(server) as client:
        client.setblocking(False)
        deadline = time.monotonic() + SECONDS
        # Once both socket buffers are full nothing more is taken.
        while select.select([], [client], [], 0.2)[1]:
            assert time.monotonic() < deadline
            with contextlib.suppress(BlockingIOError):
                client.send(COUNTERS % 1 * 100)
        assert_serves(server)


def test_a_client_that_vanishes_in_the_middle(start: StartServer) -> None:
    server = start(handlers(*map(connection, range(1, 2001))).handle)
    for _ in range(20):
        with raw_client(server) as client:
            client.sendall(b'{"version":1,"id":1,"command":"sessions"}\n' * 3)
    assert_serves(server)


def test_one_user_cannot_have_all_places(start: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "_ROOT", -1)
    server = start()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw_client(server)) for _ in range(MAX_CLIENTS_PER_USER)]
        for client in clients:
            client.sendall(COUNTERS % 1)
            receive_line(client)
        assert_serves(server)
        assert is_dropped(clients[0])
        clients[-1].sendall(COUNTERS % 2)
        assert receive_line(clients[-1])["id"] == 2


def test_there_is_always_a_place_for_one_more(start: StartServer) -> None:
    server = start()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw_client(server)) for _ in range(MAX_CLIENTS + 10)]
        for client in clients[-MAX_CLIENTS_PER_USER:]:
            client.sendall(COUNTERS % 1)
            receive_line(client)
        assert_serves(server)
        assert all(map(is_dropped, clients[:10]))


def test_idle_clients_are_dropped(start: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start()
    with raw_client(server) as idle:
        idle.sendall(COUNTERS % 1)
        receive_line(idle)
        monkeypatch.setattr(control_server, "IDLE_SECONDS", -1.0)
        with raw_client(server):
            assert is_dropped(idle)


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_clients_are_turned_away(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with contextlib.closing(ControlServer(path, handlers().handle)) as server, socket.socket(socket.AF_UNIX) as client:
        server.handle_ready()
        client.settimeout(SECONDS)
        client.connect(str(path))
        with no_descriptors_left():
            server.handle_ready()
            # Nothing is left to do: the event loop does not spin.
            assert not select.select([server], [], [], 0)[0]
        assert is_dropped(client)
        with socket.socket(socket.AF_UNIX) as another:
            another.settimeout(SECONDS)
            another.connect(str(path))
            another.sendall(COUNTERS % 1)
            for _ in range(3):
                server.handle_ready()
            assert receive_line(another)["id"] == 1


def test_who_comes_after_many_others_is_soon_answered(tmp_path: Path) -> None:
    """Those who ask without end have a turn each before the next ones are accepted."""
    path = tmp_path / "control.sock"
    with contextlib.closing(ControlServer(path, handlers().handle)) as server, contextlib.ExitStack() as stack:
        server.handle_ready()

        def client(*sent: bytes) -> socket.socket:
            each = stack.enter_context(socket.socket(socket.AF_UNIX))
            each.connect(str(path))
            each.setblocking(False)
            for data in sent:
                each.send(data)
            return each

        pests = [client(COUNTERS % 1 * 2000) for _ in range(MAX_CLIENTS)]
        for _ in range(2 * MAX_CLIENTS):
            server.handle_ready()
        for _ in range(MAX_CLIENTS):
            client()
        last = client(COUNTERS % 7)
        turns = 0
        while not select.select([last], [], [], 0)[0]:
            server.handle_ready()
            turns += 1
            for pest in pests:
                with contextlib.suppress(BlockingIOError, ConnectionResetError):
                    pest.recv(1 << 20)
            assert turns < 10 * MAX_CLIENTS


def test_a_bug_in_a_handler_costs_one_client(start: StartServer, caplog: pytest.LogCaptureFixture) -> None:
    def handle(request: Request, caller: Caller) -> Pages:
        if request.id == 66:
            raise KeyError("secret")
        return iter([{"counters": {"plain": 3}}])

    server = start(handle)
    for _ in range(2):
        with raw_client(server) as client:
            client.sendall(COUNTERS % 66)
            assert is_dropped(client)
    assert_serves(server)
    assert [record.getMessage() for record in caplog.records] == [
        "a request failed with KeyError; further ones are not reported"
    ]


def test_an_answer_that_is_too_long_is_an_error(start: StartServer) -> None:
    with raw_client(start(lambda request, caller: iter([{"text": "x" * MAX_LINE}]))) as client:
        client.sendall(COUNTERS % 1)
        assert errno_of(receive_line(client)) == "EMSGSIZE"


def test_nobody_can_connect_before_the_first_turn(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    server = ControlServer(path, handlers().handle)
    with contextlib.closing(server):
        with pytest.raises(DaemonNotRunning):
            ControlClient(path)
        assert select.select([server], [], [], SECONDS)[0]
        server.handle_ready()
        ControlClient(path).close()


def test_a_second_server_is_refused(start: StartServer) -> None:
    server = start()
    with pytest.raises(DaemonError, match="already running") as caught:
        ControlServer(server.path, handlers().handle)
    assert caught.value.exit_code == ExitCode.BUSY
    assert_serves(server)


def test_of_two_that_start_at_once_the_first_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    first = ControlServer(path, handlers().handle)
    with contextlib.closing(ControlServer(path, handlers().handle)):
        with contextlib.closing(first), pytest.raises(DaemonError, match="another tcpcryptd"):
            first.handle_ready()
        assert path.exists()
    assert not path.exists()


def test_a_stale_file_is_replaced(start: StartServer, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    assert_serves(start())


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(DaemonError, match="not a socket"):
        ControlServer(path, handlers().handle)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["missing/control.sock", "x" * 200])
def test_a_path_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(DaemonError, match="control socket"):
        ControlServer(tmp_path / name, handlers().handle)


def test_the_file_goes_with_the_server(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "control.sock")
    with ControlClient(server.path, SECONDS) as client:
        server.stop()
        with pytest.raises(ControlError):
            client.counters()
    assert not server.path.exists()
