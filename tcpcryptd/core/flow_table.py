"""The connections that the engine knows, found by the bytes of a packet's headers."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from tcpcryptd.core.connection import Connection
from tcpcryptd.core.event import ConnectionInfo
from tcpcryptd.core.limits import MAX_REFUSED_RECORDS
from tcpcryptd.core.protocol import Origin
from tcpcryptd.core.services import Entry
from tcpcryptd.wire.segment import reverse_key

_EVICTION_TRIES: Final = 16
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
        # For each side that opens connections its own: a flood of SYNs does not push out what local programs opened.
        self._plain: dict[bool, OrderedDict[bytes, tuple[ConnectionInfo, int | None]]] = {
            True: OrderedDict(),
            False: OrderedDict(),
        }
        self._refused: OrderedDict[bytes, ConnectionInfo] = OrderedDict()
        self._max_connections = max_connections
        self._max_opening = max_opening
        self._max_closed = max_closed
        self._max_plain_records = max_plain_records

    def __len__(self) -> int:
        return len(self.outbound)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self.outbound.values()))

    def make_room(self) -> bool:
        """Whether there is room for one more connection, whose handshake begins.

        The connection that has been closed for longest makes room, as in a kernel that has too many in TIME_WAIT. A
        flood of SYNs fills the list of handshakes only: its oldest makes room.
        """
        if len(self.outbound) >= self._max_connections and not self._evict_closed():
            return False
        return len(self._opening) < self._max_opening or self._evict_opening()

    def add(self, connection: Connection) -> None:
        """Enters a connection that a protocol has taken, for which there is room."""
        self.outbound[connection.key] = connection
        self.inbound[reverse_key(connection.key)] = connection
        self._opening[connection.key] = connection

    def _evict_closed(self) -> bool:
        """Drops the oldest entry that is kept for retransmissions alone; False when there is none."""
        if not self._closed:
            return False
        oldest = next(iter(self._closed.values()))
        oldest.count("closed_evicted")
        oldest.close()
        return True

    def _evict_opening(self) -> bool:
        """Drops the oldest handshake that may go on in clear; False when some at the front may not.

        What a peer opened makes room in any case, and is reset where it must be encrypted: a flood of SYNs must not
        keep others' connections out.
        """
        for _ in range(min(len(self._opening), _EVICTION_TRIES)):
            key, oldest = next(iter(self._opening.items()))
            if not (oldest.origin.active and oldest.must_encrypt):
                oldest.count("opening_evicted")
                oldest.abandon()
                return True
            self._opening.move_to_end(key)
        return False

    def opened(self, connection: Entry) -> bool:
        """The handshake is over: the entry can no longer be evicted. Whether it could before."""
        return self._opening.pop(connection.key, None) is not None

    def closed(self, connection: Entry) -> None:
        """The connection is over: its entry makes room when there is none, and when there are too many of its kind.

        One whose handshake is not over stays among those.
        """
        entry = self.outbound.get(connection.key)
        if entry is not None and entry is connection and entry.key not in self._opening:
            self._closed[entry.key] = entry
            if len(self._closed) > self._max_closed:
                self._evict_closed()

    def remove(self, connection: Entry) -> None:
        """Takes a connection out; one that is not in is no error."""
        if self.outbound.get(connection.key) is connection:
            del self.outbound[connection.key]
            # It is not there when memory ran out while the connection was entered.
            self.inbound.pop(reverse_key(connection.key), None)
            self._opening.pop(connection.key, None)
            self._closed.pop(connection.key, None)

    def record_plain(self, key: bytes, origin: Origin, info: ConnectionInfo) -> None:
        """Remembers why a connection is not encrypted, as long as there is room."""
        records = self._plain[origin.active]
        records[key] = info, origin.isn
        records.move_to_end(key)
        if len(records) > self._max_plain_records:
            records.popitem(last=False)

    def was_left_plain(self, key: bytes, active: bool, isn: int) -> bool:
        """Whether the connection that such a SYN opened was."""
        record = self._plain[active].get(key)
        return record is not None and record[1] == isn

    def forget_plain(self, key: bytes) -> None:
        """A new connection has taken that one's place."""
        for records in self._plain.values():
            records.pop(key, None)
        self._refused.pop(key, None)

    def record_refused(self, key: bytes, info: ConnectionInfo) -> None:
        """Remembers why a connection was refused, as long as there is room."""
        self._refused[key] = info
        self._refused.move_to_end(key)
        if len(self._refused) > MAX_REFUSED_RECORDS:
            self._refused.popitem(last=False)

    def infos(self) -> Iterator[ConnectionInfo]:
        """What is known of all connections; the caller may take its time.

        Behind those with an entry stand those that were left plain, oldest first of each side, some of which may have
        ended since, and those that were refused. What is left over of a refused one can make an entry.
        """
        for connection in self:
            self.settled(connection.key)
            if connection.key not in self._refused:
                yield connection.info()
        for side in self._plain.values():
            for key, (info, _) in list(side.items()):
                if key not in self.outbound:
                    yield info
        yield from list(self._refused.values())

    def entry(self, key: bytes) -> Connection | None:
        """The connection with this outgoing key."""
        return self.outbound.get(key)

    def settled(self, key: bytes) -> Connection | None:
        """The same, when it has done what could wait, since somebody asks about it; that may end it."""
        connection = self.outbound.get(key)
        if connection is not None and connection.state is not None:
            connection.state.settle()
        return self.outbound.get(key)

    def find(self, key: bytes) -> ConnectionInfo | None:
        """What is known of the connection with this outgoing key."""
        connection = self.settled(key)
        if key in self._refused:
            return self._refused[key]
        if connection is not None:
            return connection.info()
        records = [records[key][0] for records in self._plain.values() if key in records]
        return max(records, key=lambda info: info.started, default=None)

    def counts(self) -> dict[str, int]:
        """How many connections there are, and of which kinds.

        Encrypted ones are those whose handshake is over, since plain ones are no entries then; closed ones are kept for
        what is still retransmitted.
        """
        opening, closed = len(self._opening), len(self._closed)
        return {
            "connections": len(self.outbound),
            "encrypted": len(self.outbound) - opening - closed,
            "closed": closed,
        }
