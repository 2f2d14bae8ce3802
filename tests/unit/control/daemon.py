"""A control server in a thread, with connections that the test makes up."""

import select
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.core.hosts import HostInfo
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.netio.clients.control_connection import RequestHandler
from tcpcryptd.netio.clients.control_handlers import ControlHandlers
from tcpcryptd.netio.clients.control_server import ControlServer
from tcpcryptd.netio.clients.socket_options import SocketOptions


def connection(
    port: int, state: ConnectionState = ConnectionState.ENCRYPTED, address: str = "192.0.2.1"
) -> ConnectionInfo:
    """A connection from local port 40000."""
    encrypted = state is ConnectionState.ENCRYPTED
    return ConnectionInfo(
        Endpoint(address, 40000),
        Endpoint(address, port),
        state,
        protocol="crypt" if encrypted else None,
        session_id=port.to_bytes(20, "big") if encrypted else None,
        reason=None if encrypted else "the peer does not speak tcpcrypt",
        started=5.0,
    )


class FakeEngine:
    """Knows the connections and hosts that it is given."""

    def __init__(self, *known: ConnectionInfo, hosts: Sequence[HostInfo] = ()) -> None:
        self.known = list(known)
        self._hosts = hosts
        self.kept: dict[tuple[Endpoint, Endpoint | None], ConnectionOptions] = {}
        self.actions: list[tuple[object, ...]] = []

    def connections(self) -> Iterator[ConnectionInfo]:
        return iter(list(self.known))

    def hosts(self) -> Iterator[HostInfo]:
        return iter(self._hosts)

    def connection(self, local: Endpoint, remote: Endpoint) -> ConnectionInfo | None:
        return next((info for info in self.known if (info.local, info.remote) == (local, remote)), None)

    def options(self, local: Endpoint, remote: Endpoint | None = None) -> ConnectionOptions | None:
        return self.kept.get((local, remote)) if remote else self.kept.get((local, None), ConnectionOptions())

    def set_options(self, options: ConnectionOptions, local: Endpoint, remote: Endpoint | None = None) -> bool:
        self.kept[local, remote] = options
        return True

    def endpoints_with_options(self) -> list[Endpoint]:
        return [local for (local, remote), options in self.kept.items() if options != ConnectionOptions()]

    def rekey(self, local: Endpoint, remote: Endpoint) -> bool:
        self.actions.append(("rekey", local, remote))
        return True

    def reset(self, local: Endpoint, remote: Endpoint) -> bool:
        self.actions.append(("reset", local, remote))
        return True

    def flush_session(self, local: Endpoint, remote: Endpoint) -> bool:
        self.actions.append(("flush", local, remote))
        return True

    def flush_sessions(self) -> int:
        self.actions.append(("flush",))
        return 3


class FakeOwners:
    """The owner of each connection by its remote port."""

    def __init__(self, owners: dict[int, int] | None = None) -> None:
        self._owners = owners or {}

    def owner(self, local: tuple[str, int], remote: tuple[str, int]) -> int | None:
        return self._owners.get(remote[1])


def handlers(
    *known: ConnectionInfo, owners: dict[int, int] | None = None, hosts: Sequence[HostInfo] = ()
) -> ControlHandlers:
    options = SocketOptions(FakeEngine(*known), lambda local, cookie: None)
    return ControlHandlers(FakeEngine(*known, hosts=hosts), FakeOwners(owners), options, lambda: {"plain": 3})


class RunningServer:
    """Serves in a thread as the event loop does, until `stop`."""

    def __init__(self, path: Path, handle: RequestHandler | None = None) -> None:
        self.path = path
        self.server = ControlServer(path, handle or handlers(connection(80)).handle)
        self.server.handle_ready()
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if select.select([self.server], [], [], 0.01)[0]:
                    self.server.handle_ready()
        except Exception as error:
            self._failure = error

    def stop(self) -> None:
        """Ends the thread and the server; raises what the server raised."""
        self._stopping.set()
        self._thread.join(10)
        self.server.close()
        if self._failure is not None:
            raise self._failure


StartServer = Callable[..., RunningServer]
