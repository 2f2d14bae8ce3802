"""Which packet belongs to which connection."""

from collections.abc import Iterator

from tcpcryptd.dissect import Captured
from tcpcryptd.pcap.chunk import Chunk
from tcpcryptd.pcap.connection import Connection
from tcpcryptd.pcap.keys import KeyBook
from tcpcryptd.wire.segment import ACK, SYN, Segment, locate, reverse_key


class ConnectionTable:
    """The connections of a capture, in the order of their first packets."""

    def __init__(self, keys: KeyBook | None = None) -> None:
        self.connections: list[Connection] = []
        self._keys = keys or KeyBook()
        self._open: dict[bytes, tuple[Connection, bool]] = {}
        """The latest connection of a flow, and whether the flow's source is its opener."""

    def add(self, captured: Captured) -> Iterator[Chunk]:
        """Takes the next packet; returns its connection's chunks."""
        segment = captured.dissection.segment
        if segment is None:
            return
        key = locate(segment.packet)[1]
        known = self._open.get(key)
        if known is None or self._begins_anew(known, segment):
            known = self._begin(key, captured, segment)
        connection, from_opener = known
        yield from connection.add(captured, from_opener)

    def _begins_anew(self, known: tuple[Connection, bool], segment: Segment) -> bool:
        if not segment.is_opening:
            return False
        connection, from_opener = known
        opener, answerer = connection.sides
        if from_opener:
            return opener.isn != segment.sequence
        # Both may open at once.
        return opener.isn is None or answerer.isn not in (None, segment.sequence)

    def _begin(self, key: bytes, captured: Captured, segment: Segment) -> tuple[Connection, bool]:
        source, destination = captured.dissection.ends.split(" > ")
        # Without its SYN, who sent the SYN ACK is not the opener; else whoever is seen first is taken for it.
        from_opener = segment.flags & (SYN | ACK) != SYN | ACK
        ends = (source, destination) if from_opener else (destination, source)
        connection = Connection(len(self.connections) + 1, *ends, self._keys)
        self.connections.append(connection)
        self._open[key] = connection, from_opener
        self._open[reverse_key(key)] = connection, not from_opener
        return self._open[key]
