import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcpcryptd.netio.process.service_manager import ServiceManager


@pytest.fixture
def manager_socket(tmp_path: Path) -> Iterator[socket.socket]:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.bind(str(tmp_path / "notify"))
    yield made
    made.close()


def test_what_it_says(manager_socket: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager_socket.getsockname(), "OTHER": "stays"}
    manager = ServiceManager(environment)
    assert environment == {"OTHER": "stays"}
    assert manager.watchdog_interval is None
    manager.ready("running as nobody")
    manager.reloading()
    manager.alive()
    manager.stopping()
    manager.close()
    manager.alive()
    assert manager_socket.recv(4096) == b"READY=1\nSTATUS=running as nobody"
    reloading, _, since = manager_socket.recv(4096).decode().partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert int(since) > 0
    assert [manager_socket.recv(4096) for _ in range(2)] == [b"WATCHDOG=1", b"STOPPING=1"]
    with pytest.raises(BlockingIOError):
        manager_socket.recv(4096)


def test_an_abstract_address() -> None:
    name = f"tcpcryptd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        made.bind(f"\0{name}")
        manager = ServiceManager({"NOTIFY_SOCKET": f"@{name}"})
        manager.stopping()
        manager.close()
        assert made.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nowhere/at/all", "/" + "x" * 200])
def test_nobody_listens(address: str) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert manager.watchdog_interval is None
    manager.ready("running")
    manager.close()


def test_a_manager_that_does_not_read(manager_socket: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": manager_socket.getsockname()})
    for _ in range(10_000):
        manager.alive()
    manager.close()
    assert manager_socket.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("microseconds", "process", "interval"),
    [
        ("30000000", None, 15.0),
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
    ],
)
def test_how_often_it_must_be_alive(
    manager_socket: socket.socket, microseconds: str, process: str | None, interval: float | None
) -> None:
    environment = {"NOTIFY_SOCKET": manager_socket.getsockname(), "WATCHDOG_USEC": microseconds}
    if process is not None:
        environment["WATCHDOG_PID"] = process
    manager = ServiceManager(environment)
    assert manager.watchdog_interval == interval
    assert list(environment) == []
    manager.close()
