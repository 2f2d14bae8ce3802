"""Handlers for the requests of the control protocol."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from tcpcryptd.control.codec import Request
from tcpcryptd.control.commands import COMMANDS, Argument
from tcpcryptd.control.socket_option import SocketOption
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.core.hosts import HostInfo
from tcpcryptd.netio.clients.host_list import HostList
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.clients.socket_identity import SocketIdentity
from tcpcryptd.netio.clients.socket_options import SocketOptions
from tcpcryptd.records.address import Address

Page = Mapping[str, object]
Pages = Iterator[Page]
"""The parts of a result, each made within about half a millisecond."""

ROOT = 0
PEERS_PER_PAGE = 64
SESSIONS_PER_PAGE = 32
"""Connections in a page, which stays well below the longest message."""
_WORK_PER_PAGE = 128
"""In units of one connection looked at (about 3 us). A page may be empty for it: the client sees that it goes on."""
_OWNER_COST = 30
"""Asking the kernel for a socket's owner, in the same unit."""


class ConnectionSource(Protocol):
    """What the handlers need of the engine."""

    def connections(self) -> Iterator[ConnectionInfo]:
        """All connections, one after the other; the caller may take its time."""

    def connection(self, local: Endpoint, remote: Endpoint) -> ConnectionInfo | None:
        """One of them."""

    def flush_sessions(self) -> int:
        """Forgets all sessions that could be resumed; returns their number."""


class HostSource(ConnectionSource, Protocol):
    """And of hosts."""

    def hosts(self) -> Iterator[HostInfo]:
        """Those that were asked who they are."""


class Owners(Protocol):
    """What the handlers need of `SocketOwners`."""

    def owner(self, local: tuple[str, int], remote: tuple[str, int]) -> int | None:
        """The user ID of the local socket."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The client's user (by the socket's peer credentials), and the time (monotonic seconds)."""

    user_id: int
    now: float
    socket: SocketIdentity | Refused | None = None
    """The socket whose descriptor came with the request, or why it cannot be used."""

    @property
    def is_root(self) -> bool:
        """Root sees all, others the connections of their own sockets."""
        return self.user_id == ROOT


class ControlHandlers:
    """One method for each entry in `COMMANDS`."""

    def __init__(
        self,
        engine: HostSource,
        owners: Owners,
        options: SocketOptions,
        counters: Callable[[], dict[str, int]],
    ) -> None:
        self._engine = engine
        self._options = options
        self._owners = owners
        self._counters = counters
        self._handlers: dict[str, Callable[[Mapping[str, Argument], Caller], Pages]] = {
            "sessions": self._sessions,
            "session": self._session,
            "peers": self._peers,
            "counters": self._read_counters,
            "flush_cache": self._flush_cache,
            "socket": self._socket,
            "get_option": self._get_option,
            "set_option": self._set_option,
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
            if wants_all or info.state is ConnectionState.ENCRYPTED:
                work += _OWNER_COST
                owner = (self._owner_to_show if caller.is_root else self._owner)(info.local, info.remote)
                if caller.is_root or owner == caller.user_id:
                    rows.append(_told(info, caller.now, owner))
            if len(rows) == SESSIONS_PER_PAGE or work >= _WORK_PER_PAGE:
                yield {"sessions": rows}
                rows, work = [], 0
        yield {"sessions": rows}

    def _peers(self, arguments: Mapping[str, Argument], caller: Caller) -> Pages:
        hosts = HostList(self._engine.hosts() if caller.is_root else ())
        work = 0
        for info in self._engine.connections():
            work += 1
            if info.peer is not None and info.state is ConnectionState.ENCRYPTED:
                work += 0 if caller.is_root else _OWNER_COST
                if caller.is_root or self._owner(info.local, info.remote) == caller.user_id:
                    hosts.add(info)
            if work >= _WORK_PER_PAGE:
                yield {"peers": []}
                work = 0
        records = (host.to_message() for host in hosts.told(caller.now))
        rows = list(islice(records, PEERS_PER_PAGE))
        yield {"peers": rows}
        while rows := list(islice(records, PEERS_PER_PAGE)):
            yield {"peers": rows}

    def _session(self, arguments: Mapping[str, Argument], caller: Caller) -> Pages:
        local, remote = _endpoint(arguments["local"]), _endpoint(arguments["remote"])
        self._check_owner(local, remote, caller)
        yield self._describe(local, remote, caller)

    def _socket(self, arguments: Mapping[str, Argument], caller: Caller) -> Pages:
        passed = _passed(caller)
        if passed.remote is None:
            raise Refused("ENOTCONN", "the socket is not connected")
        yield self._describe(passed.local, passed.remote, caller)

    def _describe(self, local: Endpoint, remote: Endpoint, caller: Caller) -> Page:
        info = self._engine.connection(local, remote)
        if info is None:
            raise Refused("ENOENT", "tcpcryptd does not know this connection")
        return {"session": _told(info, caller.now, self._owner_to_show(local, remote))}

    def _get_option(self, arguments: Mapping[str, Argument], caller: Caller) -> Pages:
        yield {"value": self._options.get(self._target(arguments, caller), _option(arguments))}

    def _set_option(self, arguments: Mapping[str, Argument], caller: Caller) -> Pages:
        option, value = _option(arguments), arguments["value"]
        target = self._target(arguments, caller)
        if option is SocketOption.TCP_CRYPT_CACHE_FLUSH and target.remote is None and not caller.is_root:
            raise Refused("EPERM", "this forgets the sessions of all users: only root may do that")
        if isinstance(value, Address):
            raise Refused("EINVAL", "expected a number or a list of specs")
        self._options.set(target, option, value)
        yield {}

    def _target(self, arguments: Mapping[str, Argument], caller: Caller) -> SocketIdentity:
        """The connection that the ends name, else the socket that was passed: whoever has its descriptor may use it."""
        if "local" not in arguments and "remote" not in arguments:
            return _passed(caller)
        if not ("local" in arguments and "remote" in arguments):
            raise Refused("EINVAL", "local and remote go together")
        local, remote = _endpoint(arguments["local"]), _endpoint(arguments["remote"])
        self._check_owner(local, remote, caller)
        return SocketIdentity(local, remote, None)

    def _check_owner(self, local: Endpoint, remote: Endpoint, caller: Caller) -> None:
        if (":" in local.address) != (":" in remote.address):
            raise Refused("EINVAL", "the two ends have addresses of different families")
        if caller.is_root:
            return
        owner = self._owner(local, remote)
        if owner is None:
            raise Refused("ENOENT", "no such connection")
        if owner != caller.user_id:
            raise Refused("EACCES", "the connection belongs to another user")

    def _read_counters(self, arguments: Mapping[str, Argument], caller: Caller) -> Pages:
        yield {"counters": self._counters()}

    def _flush_cache(self, arguments: Mapping[str, Argument], caller: Caller) -> Pages:
        if not caller.is_root:
            raise Refused("EPERM", "this forgets the sessions of all users: only root may do that")
        yield {"flushed": self._engine.flush_sessions()}

    def _owner(self, local: Endpoint, remote: Endpoint) -> int | None:
        try:
            return self._owners.owner(local, remote)
        except OSError as error:
            raise Refused("EAGAIN", "the kernel does not say who owns the connection") from error

    def _owner_to_show(self, local: Endpoint, remote: Endpoint) -> int | None:
        with contextlib.suppress(Refused):
            return self._owner(local, remote)
        return None


def _passed(caller: Caller) -> SocketIdentity:
    if isinstance(caller.socket, SocketIdentity):
        return caller.socket
    raise caller.socket or Refused("EBADF", "the descriptor of a socket must come with this request")


def _option(arguments: Mapping[str, Argument]) -> SocketOption:
    option = arguments["option"]
    if not isinstance(option, SocketOption):
        raise Refused("ENOPROTOOPT", "not an option")
    return option


def _endpoint(value: Argument) -> Endpoint:
    if not isinstance(value, Address):
        raise Refused("EINVAL", "not an address and a port")
    return Endpoint(value.address, value.port)


def _told(info: ConnectionInfo, now: float, owner: int | None) -> Page:
    return replace(info, age=max(0.0, now - info.started), owner=owner).to_message()
