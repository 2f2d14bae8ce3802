"""The engines of all workers as one, for the control server and its clients (core.engine.Engine)."""

from collections.abc import Iterator

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo
from tcpcryptd.core.hosts import HostInfo
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.workers.channel import Json
from tcpcryptd.netio.workers.link import UNANSWERED
from tcpcryptd.netio.workers.pool import WorkerPool
from tcpcryptd.netio.workers.worker_state import WorkerState
from tcpcryptd.records.json_codec import decode, encode


class SharedEngine:
    """Each method does what the engine's does.

    It raises Refused (EAGAIN) where it depends on an answer that does not come: not to know a connection is another
    thing.
    """

    def __init__(self, pool: WorkerPool, worker_state: WorkerState) -> None:
        self._pool = pool
        self._state = worker_state

    def connections(self) -> Iterator[ConnectionInfo]:
        """All that are known, in pages, so that no worker is kept from its packets for long."""
        return (decode(ConnectionInfo, row) for row in self._rows("connections"))

    def hosts(self) -> Iterator[HostInfo]:
        """Those that were asked who they are, worker by worker."""
        return (decode(HostInfo, row) for row in self._rows("hosts"))

    def _rows(self, name: str) -> Iterator[Json]:
        for index in self._pool.indexes():
            page = self._page(name, index)
            while page is not None:
                rows, listing = page
                yield from rows
                page = None if listing is None else self._page("more", index, listing)

    def _page(self, name: str, index: int, *arguments: Json) -> Json:
        answer = self._pool.ask(name, *arguments, only=index)[index]
        if answer is UNANSWERED:
            raise _not_answered()
        return answer

    def connection(self, local: Endpoint, remote: Endpoint) -> ConnectionInfo | None:
        """One of them."""
        row = self._of_connection("connection", local, remote)
        return decode(ConnectionInfo, row) if row else None

    def options(self, local: Endpoint, remote: Endpoint | None = None) -> ConnectionOptions | None:
        """The options for a connection, or for a local end's next ones."""
        if remote is None:
            return self._state.options.get(local)
        info = self.connection(local, remote)
        return info.options if info is not None else None

    def set_options(self, options: ConnectionOptions, local: Endpoint, remote: Endpoint | None = None) -> bool:
        """Replaces them. A local end's may become connections of any worker."""
        if remote is not None:
            return bool(self._of_connection("set_options", encode(options), local, remote))
        self._state.options.set(local, options)
        self._pool.share_options(local)
        return True

    def endpoints_with_options(self) -> list[Endpoint]:
        """The local ends that options are kept for."""
        return self._state.options.endpoints()

    def rekey(self, local: Endpoint, remote: Endpoint) -> bool:
        """Replaces the keys."""
        return bool(self._of_connection("rekey", local, remote))

    def reset(self, local: Endpoint, remote: Endpoint) -> bool:
        """Ends a connection."""
        return bool(self._of_connection("reset_connection", local, remote))

    def flush_session(self, local: Endpoint, remote: Endpoint) -> bool:
        """Forgets what one connection has left to be resumed."""
        return bool(self._of_connection("flush_session", local, remote))

    def flush_sessions(self) -> int:
        """Forgets all sessions. A worker that does not answer forgets its own before it handles another packet."""
        answers = self._pool.ask("flush_sessions", everyone=True).values()
        return sum(answer for answer in answers if answer is not UNANSWERED)

    def adjust(self, settings: Json) -> None:
        """Changes settings of all workers, as they were told to understand them, for connections that begin later."""
        self._state.settings = settings
        self._pool.ask("adjust", settings, everyone=True)

    def _of_connection(self, name: str, *arguments: Json) -> Json:
        """The answer of the worker that knows the connection; whose it is only the kernel's hash can tell."""
        answers = self._pool.ask(name, *arguments, enough=bool).values()
        known = next((answer for answer in answers if answer is not UNANSWERED and answer), None)
        if known is None and any(answer is UNANSWERED for answer in answers):
            raise _not_answered()
        return known


def _not_answered() -> Refused:
    return Refused("EAGAIN", "a worker of tcpcryptd does not answer")
