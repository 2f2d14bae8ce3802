"""The connections that the engine knows, found by the bytes of a packet's headers."""

from collections import OrderedDict
from collections.abc import Iterator

from tcpcryptd.core.connection import Connection
from tcpcryptd.core.event import ConnectionInfo
from tcpcryptd.wire.segment import reverse_key

_EVICTION_TRIES = 16
"""Handshakes that are looked at for one that can be dropped: the cost of one SYN of a flood."""


class FlowTable:
    """Connections by flow key, once for each direction; bounded.

    On loopback both ends of a connection are entries of their own: one end's outgoing key is the other's incoming one.
    """

    def __init__(self, max_connections: int, max_opening: int, max_closed: int, max_plain_records: int) -> None:
        self.outbound: dict[bytes, Connection] = {}
        self.inbound: dict[bytes, Connection] = {}
        self._opening: OrderedDict[bytes, Connection] = OrderedDict()
        self._closed: OrderedDict[bytes, Connection] = OrderedDict()
        self._plain: OrderedDict[bytes, ConnectionInfo] = OrderedDict()
        self._max_connections = max_connections
        self._max_opening = max_opening
        self._max_closed = max_closed
        self._max_plain_records = max_plain_records

    def __len__(self) -> int:
        return len(self.outbound)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self.outbound.values()))

    def add(self, connection: Connection) -> bool:
        """Enters a connection whose handshake begins; False when the table is full.

        The connection that has been closed for longest makes room, as in a kernel that has too many in TIME_WAIT. A
        flood of SYNs fills the list of handshakes only: its oldest makes room.
        """
        if len(self.outbound) >= self._max_connections and not self._evict_closed():
            return False
        if len(self._opening) >= self._max_opening and not self._evict_opening():
            return False
        self.outbound[connection.key] = connection
        self.inbound[reverse_key(connection.key)] = connection
        self._opening[connection.key] = connection
        self._plain.pop(connection.key, None)
        return True

    def _evict_closed(self) -> bool:
        """Drops the oldest entry that is kept for retransmissions alone; False when there is none."""
        if not self._closed:
            return False
        oldest = next(iter(self._closed.values()))
        oldest.count("closed_evicted")
        oldest.close()
        return True

    def _evict_opening(self) -> bool:
        """Drops the oldest handshake that may go on in clear; False when some at the front may not."""
        for _ in range(min(len(self._opening), _EVICTION_TRIES)):
            key, oldest = next(iter(self._opening.items()))
            if not oldest.must_encrypt:
                oldest.count("opening_evicted")
                oldest.abandon()
                return True
            self._opening.move_to_end(key)
        return False

    def opened(self, connection: Connection) -> bool:
        """The handshake is over: the entry can no longer be evicted. Whether it could before."""
        return self._opening.pop(connection.key, None) is not None

    def closed(self, connection: Connection) -> None:
        """The connection is over: its entry makes room when there is none, and when there are too many of its kind."""
        if self.outbound.get(connection.key) is connection:
            self._closed[connection.key] = connection
            if len(self._closed) > self._max_closed:
                self._evict_closed()

    def remove(self, connection: Connection) -> None:
        """Takes a connection out; one that is not in is no error."""
        if self.outbound.get(connection.key) is connection:
            del self.outbound[connection.key]
            # It is not there when memory ran out while the connection was entered.
            self.inbound.pop(reverse_key(connection.key), None)
            self._opening.pop(connection.key, None)
            self._closed.pop(connection.key, None)

    def record_plain(self, key: bytes, info: ConnectionInfo) -> None:
        """Remembers why a connection is not encrypted, as long as there is room."""
        self._plain[key] = info
        self._plain.move_to_end(key)
        if len(self._plain) > self._max_plain_records:
            self._plain.popitem(last=False)

    def plain_records(self) -> Iterator[ConnectionInfo]:
        """Connections that were left plain, oldest first; some may have ended since."""
        return iter(list(self._plain.values()))

    def find(self, key: bytes) -> ConnectionInfo | None:
        """What is known of the connection with this outgoing key."""
        connection = self.outbound.get(key)
        return connection.info() if connection is not None else self._plain.get(key)

    def count_encrypted(self) -> int:
        """How many connections are encrypted: those whose handshake is over, since plain ones are no entries then."""
        return len(self.outbound) - len(self._opening)
