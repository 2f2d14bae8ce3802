"""The segments of one end of a connection."""

from collections import Counter

from tcpcryptd.pcap.chunk import Kind
from tcpcryptd.pcap.stream import FrameStream
from tcpcryptd.wire.sequence import add, extend


class Side:
    """Counts of one direction."""

    def __init__(self) -> None:
        self.isn: int | None = None
        """Of its SYN; None when that was not captured."""
        self.segments = 0
        self.bytes: Counter[Kind] = Counter()
        """Of payload, what was sent again counted again."""
        self.not_captured = 0
        """Bytes of payload that the capture left out."""
        self.message_length = 0
        """Of INIT1 or INIT2."""
        self.authentic = 0
        self.failures = 0
        """Segments or frames that are not authentic although there are keys for them."""
        self.frames = FrameStream()
        self._first: int | None = None
        self._reach = 0

    def offset(self, sequence: int) -> int:
        """Where a sequence number is in the stream, counted from the SYN, else from the first segment captured."""
        if self._first is None:
            self._first = sequence if self.isn is None else add(self.isn, 1)
        offset = extend((sequence - self._first) & 0xFFFFFFFF, self._reach)
        self._reach = max(self._reach, offset)
        return offset
