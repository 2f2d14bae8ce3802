"""What the daemon answers to each request of the control protocol, and to whom."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from tcpcryptd.control.address import Address
from tcpcryptd.control.codec import Request
from tcpcryptd.control.commands import COMMANDS, Argument
from tcpcryptd.control.session_record import SessionRecord
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo
from tcpcryptd.core.verdict import ConnectionClass

Page = Mapping[str, object]
Pages = Iterator[Page]
"""The parts of a result, each made within about half a millisecond."""

ROOT = 0
SESSIONS_PER_PAGE = 32
"""Keeps a page well below the longest message."""
_WORK_PER_PAGE = 128
"""In units of one connection looked at (about 3 us). A page may be empty for it: the client sees that it goes on."""
_OWNER_COST = 30
"""Asking the kernel for a socket's owner, in the same unit."""


class ConnectionSource(Protocol):
    """What the handlers need of the engine."""

    def connections(self) -> Iterator[ConnectionInfo]:
        """All that are known; the caller may take its time."""

    def connection(self, local: Endpoint, remote: Endpoint) -> ConnectionInfo | None:
        """One of them."""


class Owners(Protocol):
    """What the handlers need of `SocketOwners`."""

    def owner(self, local: tuple[str, int], remote: tuple[str, int]) -> int | None:
        """The user ID of the local socket."""


class Refused(Exception):
    """The request is understood and refused; `errno` is a name such as ENOENT."""

    def __init__(self, errno: str, message: str) -> None:
        super().__init__(message)
        self.errno = errno


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks (by the socket's peer credentials), and when (monotonic seconds)."""

    user_id: int
    now: float

    @property
    def is_root(self) -> bool:
        """Root sees all, others the connections of their own sockets."""
        return self.user_id == ROOT


class ControlHandlers:
    """One method for each entry in `COMMANDS`."""

    def __init__(self, engine: ConnectionSource, owners: Owners, counters: Callable[[], dict[str, int]]) -> None:
        self._engine = engine
        self._owners = owners
        self._counters = counters
        self._handlers: dict[str, Callable[[Mapping[str, Argument], Caller], Pages]] = {
            "sessions": self._sessions,
            "session": self._session,
            "counters": self._read_counters,
        }
        if self._handlers.keys() != COMMANDS.keys():
            raise TypeError("commands and handlers differ")

    def handle(self, request: Request, caller: Caller) -> Pages:
        """The parts of the result; taking one raises Refused."""
        return self._handlers[request.command](request.arguments, caller)

    def _sessions(self, arguments: Mapping[str, Argument], caller: Caller) -> Pages:
        wants_all = arguments["all"]
        rows: list[object] = []
        work = 0
        for info in self._engine.connections():
            work += 1
            if wants_all or info.state is ConnectionClass.ENCRYPTED:
                if not caller.is_root:
                    work += _OWNER_COST
                if caller.is_root or self._owner(info.local, info.remote) == caller.user_id:
                    rows.append(_record(info, caller.now).to_json())
            if len(rows) == SESSIONS_PER_PAGE or work >= _WORK_PER_PAGE:
                yield {"sessions": rows}
                rows, work = [], 0
        yield {"sessions": rows}

    def _session(self, arguments: Mapping[str, Argument], caller: Caller) -> Pages:
        local, remote = _endpoint(arguments["local"]), _endpoint(arguments["remote"])
        if (":" in local.address) != (":" in remote.address):
            raise Refused("EINVAL", "the two ends have addresses of different families")
        if not caller.is_root:
            owner = self._owner(local, remote)
            if owner is None:
                raise Refused("ENOENT", "no such connection")
            if owner != caller.user_id:
                raise Refused("EACCES", "the connection belongs to another user")
        info = self._engine.connection(local, remote)
        if info is None:
            raise Refused("ENOENT", "tcpcryptd does not know this connection")
        yield {"session": _record(info, caller.now).to_json()}

    def _read_counters(self, arguments: Mapping[str, Argument], caller: Caller) -> Pages:
        yield {"counters": self._counters()}

    def _owner(self, local: Endpoint, remote: Endpoint) -> int | None:
        try:
            return self._owners.owner(local, remote)
        except OSError as error:
            raise Refused("EAGAIN", "the kernel does not tell whose the connection is") from error


def _endpoint(value: Argument) -> Endpoint:
    if not isinstance(value, Address):
        raise Refused("EINVAL", "not an address and a port")
    return Endpoint(value.address, value.port)


def _record(info: ConnectionInfo, now: float) -> SessionRecord:
    return SessionRecord(
        local=Address(*info.local),
        remote=Address(*info.remote),
        state=info.state.name.lower(),
        protocol=info.protocol,
        session_id=info.session_id,
        role=info.role,
        suite=info.suite,
        resumed=info.resumed,
        peer_aware=info.peer_aware,
        reason=info.reason,
        age=max(0.0, now - info.started),
        bytes_sent=info.bytes_sent,
        bytes_received=info.bytes_received,
    )
