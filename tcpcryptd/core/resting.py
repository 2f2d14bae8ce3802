"""Open connections that are not in use rest: what their ciphers keep in memory, most of a connection's, is dropped.

The next segment makes it again from the keys, in some microseconds. So many connections are ready as are in use, and
some more: an entry that has become the oldest goes to the end when its connection has been used since it was entered.
"""

from collections import deque
from typing import Final, Protocol

from tcpcryptd.core.protocol import Handler, ProtocolState
from tcpcryptd.core.verdict import Verdict

_EXAMINED: Final = 4
"""Entries that are looked at when one is added."""
_BEGINNING: Final = 0.1
"""Seconds in which what passes belongs to the handshake, or to what the connection was awakened by."""


class Connection(Protocol):
    """What is needed of one."""

    state: ProtocolState | None
    outbound: Handler
    inbound: Handler
    last_seen: float


class Ready:
    """Those that do not rest; connections that are over stay until they are the oldest."""

    def __init__(self, limit: int) -> None:
        """`limit`: how many not in use are kept ready."""
        self._limit = limit
        self._entries: deque[tuple[Connection, float]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, connection: Connection, now: float) -> None:
        """The connection is in use now. It must not be in."""
        self._entries.append((connection, now))
        for _ in range(_EXAMINED):
            if len(self._entries) <= self._limit:
                break
            oldest, since = self._entries.popleft()
            if oldest.last_seen > since + _BEGINNING:
                self._entries.append((oldest, now))
            elif oldest.state is not None:
                Resting(self, oldest, oldest.state)


class Resting:
    """Stands in the place of a connection's handlers until a segment comes."""

    __slots__ = ("_connection", "_inbound", "_outbound", "_ready")

    def __init__(self, ready: Ready, connection: Connection, state: ProtocolState) -> None:
        self._ready = ready
        self._connection = connection
        self._outbound, self._inbound = connection.outbound, connection.inbound
        state.rest()
        connection.outbound, connection.inbound = self.outbound, self.inbound

    def outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """A segment of the local kernel's."""
        self._wake(now)
        return self._outbound(packet, offset, now)

    def inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """A segment of the peer's."""
        self._wake(now)
        return self._inbound(packet, offset, now)

    def _wake(self, now: float) -> None:
        self._connection.outbound, self._connection.inbound = self._outbound, self._inbound
        self._ready.add(self._connection, now)
