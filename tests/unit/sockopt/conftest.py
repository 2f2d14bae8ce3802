"""A daemon whose engine is made up, and a connection of the real kernel."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.netio.clients.control_handlers import ControlHandlers
from tcpcryptd.netio.clients.socket_options import SocketOptions
from tests.unit.control.daemon import FakeEngine, FakeOwners, RunningServer

SESSION = bytes(range(20))


class Daemon:
    """A running control server with an engine that can be looked into."""

    def __init__(self, path: Path) -> None:
        self.engine = FakeEngine()
        self.kept: list[Endpoint] = []
        options = SocketOptions(self.engine, lambda local, cookie: self.kept.append(local))
        self.handlers = ControlHandlers(self.engine, FakeOwners({80: 1000}), options, dict)
        self.server = RunningServer(path, self.handlers.handle)

    def learn(self, sock: socket.socket, **known: object) -> None:
        """The engine knows a connection."""
        info = ConnectionInfo(
            Endpoint(*sock.getsockname()), Endpoint(*sock.getpeername()), ConnectionState.ENCRYPTED, session_id=SESSION
        )
        self.engine.known = [replace(info, **known)]  # type: ignore[arg-type]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    path = tmp_path / "control.sock"
    monkeypatch.setenv("TCPCRYPTD_SOCKET", str(path))
    running = Daemon(path)
    yield running
    running.server.stop()


@pytest.fixture
def connected() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        yield sock
