import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcpcryptd.control.client import DEFAULT_SOCKET, SOCKET_VARIABLE, ControlClient, socket_path
from tcpcryptd.control.codec import Refusal, Reply, Result, decode_request, encode_reply
from tcpcryptd.control.errors import (
    ControlError,
    ControlPermissionDenied,
    ControlProtocolError,
    ControlTimeout,
    DaemonNotRunning,
    RequestRefused,
)
from tcpcryptd.records.address import Address
from tests.unit.control.samples import record

Serve = Callable[[bytes], Path]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A daemon that answers the first request with given bytes and hangs up."""
    path = tmp_path / "control.sock"
    listener = socket.socket(socket.AF_UNIX)
    threads = []

    def start(answer: bytes) -> Path:
        listener.bind(str(path))
        listener.listen()

        def run() -> None:
            client, _ = listener.accept()
            with client, client.makefile("rb") as lines:
                decode_request(lines.readline().rstrip(b"\n"))
                client.sendall(answer)

        threads.append(threading.Thread(target=run))
        threads[0].start()
        return path

    yield start
    for thread in threads:
        thread.join(10)
    listener.close()


def answer(*replies: Reply) -> bytes:
    return b"".join(map(encode_reply, replies))


def test_pages_are_put_together(serve: Serve) -> None:
    rows = [record(port) for port in (1, 2, 3)]
    pages = [[rows[0].to_message(), rows[1].to_message()], [rows[2].to_message()]]
    path = serve(answer(Result(1, {"sessions": pages[0]}, more=True), Result(1, {"sessions": pages[1]})))
    with ControlClient(path) as client:
        assert client.sessions() == rows


def test_a_session(serve: Serve) -> None:
    with ControlClient(serve(answer(Result(1, {"session": record().to_message()})))) as client:
        assert client.session(record().local, record().remote) == record()


def test_counters(serve: Serve) -> None:
    with ControlClient(serve(answer(Result(1, {"counters": {"plain": 7}})))) as client:
        assert client.counters() == {"plain": 7}


@pytest.mark.parametrize(("name", "number"), [("ENOENT", errno.ENOENT), ("EACCES", errno.EACCES), ("huh", errno.EIO)])
def test_a_refusal_has_an_errno(serve: Serve, name: str, number: int) -> None:
    path = serve(answer(Refusal(1, name, "no")))
    with ControlClient(path) as client, pytest.raises(RequestRefused, match="no") as caught:
        client.session(record().local, record().remote)
    assert caught.value.errno == number


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"hello\n",
        b"x" * 70_000,
        answer(Result(2, {"counters": {}})),
        answer(Result(1, {})),
        answer(Result(1, {"counters": {"plain": "7"}})),
        answer(Result(1, {"counters": {}}, more=True)),
        answer(Result(1, {"counters": {}}, more=True), Result(1, {"counters": {}})),
    ],
)
def test_an_answer_without_sense(serve: Serve, sent: bytes) -> None:
    with ControlClient(serve(sent)) as client, pytest.raises(ControlProtocolError):
        client.counters()


@pytest.mark.parametrize("rows", ["sessions", "peers"])
def test_a_row_without_sense(serve: Serve, rows: str) -> None:
    sent = answer(Result(1, {rows: [{"local": 1}]}))
    with ControlClient(serve(sent)) as client, pytest.raises(ControlProtocolError, match="not a "):
        getattr(client, rows)()


def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(DaemonNotRunning, match="not running"):
        ControlClient(tmp_path / "control.sock")


def test_nobody_answers(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(DaemonNotRunning):
        ControlClient(path)


def test_the_daemon_hangs(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen()
        with ControlClient(path, timeout=0.05) as client, pytest.raises(ControlTimeout):
            client.counters()


@pytest.fixture
def _unprivileged(tmp_path: Path) -> Iterator[None]:
    """Root may open every file."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.mark.usefixtures("_unprivileged")
def test_no_permission(tmp_path: Path) -> None:
    with pytest.raises(ControlPermissionDenied):
        ControlClient(tmp_path / "control.sock" if os.getuid() == 0 else "/root/control.sock")


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="too long"):
        ControlClient(tmp_path / ("x" * 200))


def test_what_cannot_be_asked_is_refused_here(serve: Serve) -> None:
    path = serve(b"")
    with ControlClient(path) as client:
        with pytest.raises(RequestRefused) as caught:
            client.session(Address("nowhere", 1), Address("192.0.2.1", 1))
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(ControlProtocolError):
            client.counters()


def test_the_environment_names_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOCKET_VARIABLE, raising=False)
    assert socket_path() == DEFAULT_SOCKET
    monkeypatch.setenv(SOCKET_VARIABLE, "/elsewhere")
    assert socket_path() == Path("/elsewhere")
