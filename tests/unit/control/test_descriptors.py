"""Descriptors that clients pass to the control server."""

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcpcryptd.control.client import ControlClient
from tcpcryptd.control.errors import RequestRefused
from tcpcryptd.control.socket_option import SocketOption
from tcpcryptd.netio.clients.descriptor_examiner import DescriptorExaminer, Owner, Result
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.clients.socket_identity import SocketIdentity, identify, namespace_cookie
from tests.e2e.harness.process import wait_until
from tests.unit.control.daemon import RunningServer

OTHER_NAMESPACE = b"\xff" * 8
GET_ENABLE = b'{"version":1,"id":1,"command":"get_option","option":"TCP_CRYPT_ENABLE"}\n'


@pytest.fixture
def namespace() -> bytes:
    with socket.socket() as own:
        return namespace_cookie(own)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path / "control.sock")
    yield running
    running.stop()


def copies(sock: socket.socket) -> int:
    """How many descriptors of this process, which the server is part of, stand for the socket."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.fstat(int(name)).st_ino == os.fstat(sock.fileno()).st_ino
    return found


def errno_of(action: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refused:
        action()
    return refused.value.errno


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_connection_is_known_by_its_ends(namespace: bytes, family: int, address: str) -> None:
    with socket.create_server((address, 0), family=family) as listener, socket.socket(family) as client:
        assert identify(client.fileno(), namespace).local.port == 0
        client.connect(listener.getsockname())
        known = identify(client.fileno(), namespace)
        assert known.local == client.getsockname()[:2]
        assert known.remote == listener.getsockname()[:2]
        assert known.cookie == struct.unpack("=Q", client.getsockopt(socket.SOL_SOCKET, 57, 8))[0]
        listening = identify(listener.fileno(), namespace)
        assert listening.local == listener.getsockname()[:2]
        assert listening.remote is None
        assert not listening.connecting
        assert client.getpeername() == listener.getsockname()


def test_mapped_addresses_are_ipv4(namespace: bytes) -> None:
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener,
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as client,
        listener.accept()[0] as peer,
    ):
        assert identify(peer.fileno(), namespace).remote == client.getsockname()
        assert identify(listener.fileno(), namespace).local.address == "::"


def test_what_cannot_be_used(namespace: bytes) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket(socket.AF_UNIX) as local:
        assert errno_of(lambda: identify(datagrams.fileno(), namespace)) == "EOPNOTSUPP"
        assert errno_of(lambda: identify(local.fileno(), namespace)) == "EOPNOTSUPP"
    with socket.socket() as stream:
        assert errno_of(lambda: identify(stream.fileno(), OTHER_NAMESPACE)) == "EACCES"
        assert stream.fileno() >= 0
    reading, writing = os.pipe()
    assert errno_of(lambda: identify(reading, namespace)) == "ENOTSOCK"
    os.close(reading)
    os.close(writing)


def test_a_passed_socket_is_enough(server: RunningServer) -> None:
    with socket.socket() as mine, ControlClient(server.path) as client:
        assert client.get_option(mine.fileno(), SocketOption.TCP_CRYPT_ENABLE) == 1
        mine.bind(("127.0.0.1", 0))
        client.set_option(mine.fileno(), SocketOption.TCP_CRYPT_ENABLE, 0)
        assert client.get_option(mine.fileno(), SocketOption.TCP_CRYPT_ENABLE) == 0
        with socket.socket() as other:
            assert client.get_option(other.fileno(), SocketOption.TCP_CRYPT_ENABLE) == 1


def test_a_descriptor_serves_one_request(server: RunningServer) -> None:
    with socket.socket() as mine, ControlClient(server.path) as client:
        assert client.get_option(mine.fileno(), SocketOption.TCP_CRYPT_ENABLE) == 1
        with pytest.raises(RequestRefused) as refused:
            client.request("get_option", {"option": SocketOption.TCP_CRYPT_ENABLE})
        assert refused.value.name == "EBADF"


def test_requests_with_descriptors_can_be_sent_ahead(server: RunningServer) -> None:
    with socket.socket() as mine, socket.socket(type=socket.SOCK_DGRAM) as wrong, socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(server.path))
        raw.settimeout(10)
        for descriptor in (mine, wrong, mine):
            socket.send_fds(raw, [GET_ENABLE], [descriptor.fileno()])
        with raw.makefile("rb") as answers:
            lines = [answers.readline() for _ in range(3)]
    assert [b"EOPNOTSUPP" in line for line in lines] == [False, True, False]
    assert [b'"value":1' in line for line in lines] == [True, False, True]


@pytest.mark.parametrize("count", [2, 100, 253])
def test_more_than_one_is_refused_and_all_are_closed(server: RunningServer, count: int) -> None:
    with socket.socket() as mine, socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(server.path))
        raw.settimeout(10)
        socket.send_fds(raw, [GET_ENABLE], [mine.fileno()])
        assert b'"value":1' in raw.recv(65536)
        socket.send_fds(raw, [GET_ENABLE], [mine.fileno()] * count)
        assert b"EBADF" in raw.recv(65536)
        wait_until(lambda: copies(mine) == 1, "all are closed")


def test_what_a_client_leaves_behind_is_closed(server: RunningServer) -> None:
    with socket.socket() as mine:
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(str(server.path))
                socket.send_fds(raw, [GET_ENABLE * 3], [mine.fileno()])
                socket.send_fds(raw, [b"half a li"], [mine.fileno()])
        with ControlClient(server.path) as client:
            client.get_option(mine.fileno(), SocketOption.TCP_CRYPT_ENABLE)
        wait_until(lambda: copies(mine) == 1, "all are closed")


class Client:
    """Waits for the result of its descriptor."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def fileno(self) -> int:
        return 1

    def examined(self, result: Result) -> None:
        self.results.append(result)


def deliver(examiner: DescriptorExaminer) -> list[Owner]:
    try:
        return examiner.deliver()
    except BlockingIOError:
        return []


def test_a_descriptor_that_blocks_keeps_nobody_but_those_who_pass_some(monkeypatch: pytest.MonkeyPatch) -> None:
    release, looking = threading.Event(), threading.Event()

    def slow(descriptor: int, namespace: bytes) -> SocketIdentity:
        looking.set()
        release.wait(10)
        raise Refused("EBADF", "slow")

    monkeypatch.setattr("tcpcryptd.netio.clients.descriptor_examiner.identify", slow)
    monkeypatch.setattr("tcpcryptd.netio.clients.descriptor_examiner.MAX_WAITING", 1)
    examiner = DescriptorExaminer()
    clients = [Client() for _ in range(3)]
    examiner.examine(os.dup(0), clients[0])
    assert looking.wait(10)
    for client in clients[1:]:
        examiner.examine(os.dup(0), client)
    deliver(examiner)
    assert [len(client.results) for client in clients] == [0, 0, 1]
    refusal = clients[2].results[0]
    assert isinstance(refusal, Refused)
    assert refusal.errno == "EAGAIN"
    release.set()
    wait_until(lambda: deliver(examiner) or all(client.results for client in clients), "the thread goes on")
    examiner.close()


def test_closing_a_socket_that_lingers_keeps_nobody() -> None:
    """The examiner has the last copy: closing it waits until the peer has read everything, or is gone."""
    examiner = DescriptorExaminer()
    first, second = Client(), Client()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        lingering = socket.create_connection(listener.getsockname())
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
        lingering.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                lingering.send(bytes(65536))
        examiner.examine(lingering.detach(), first)
        wait_until(lambda: deliver(examiner) or first.results, "the socket is looked at")
        with socket.socket() as free:
            examiner.examine(os.dup(free.fileno()), second)
        assert deliver(examiner) == []
    # The listener's end resets what it has not accepted.
    wait_until(lambda: deliver(examiner) or second.results, "the thread goes on")
    assert isinstance(second.results[0], SocketIdentity)
    examiner.close()
