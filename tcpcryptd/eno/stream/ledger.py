"""The ledger of one direction: which bytes of plaintext stand in which bytes of the TCP data stream.

*Plain* offsets count the application's bytes from 0. *Wire* offsets count the bytes of the TCP data stream from 0, the
first one after the SYN. Both number spaces have no end here; FIN is in neither.

What matters of a place is when a kernel sends it again, not which bytes stand there. So a frame's plain byte n has its
wire byte n, and what the frame is longer travels with the last one: the segments that a kernel cuts from plaintext
begin where those begin that it cuts from the frame, and a lost one is one lost one to it. Where the daemon cuts the
frame, it travels with the last byte of the first segment, for the same reason.
"""

from bisect import bisect_right

from tcpcryptd.eno.limits import FRAME_COST
from tcpcryptd.eno.stream.frame import Buffer


class Record:
    """A frame with data and the frames without data before it; only a ledger's last one may be without data at all.

    A frame without data travels with the byte after it, since nothing else makes a kernel send it again.
    """

    __slots__ = ("empty_frames", "end", "frame", "kept", "start", "turn", "wire", "wire_end")

    def __init__(
        self, start: int, end: int, wire: int, frame: int, wire_end: int, turn: int, kept: Buffer, empty_frames: int
    ) -> None:
        self.start = start
        """Plain: the first byte of data."""
        self.end = end
        """Plain: behind the last byte of data."""
        self.wire = wire
        """Where the frames without data begin, else the frame."""
        self.frame = frame
        """Wire: where the frame with data begins, and its first byte of data stands; `wire_end` when there is none."""
        self.wire_end = wire_end
        """Wire: behind the tag."""
        self.turn = turn
        """Plain: behind the byte that what the frame is longer travels with. From there on bytes stand later."""
        self.kept = kept
        """What is kept of it: the sealed bytes, or the data."""
        self.empty_frames = empty_frames
        """How many frames without data."""

    def wire_of(self, plain: int) -> int:
        """Where a plain byte of the frame stands."""
        at = self.frame + plain - self.start
        return at if plain < self.turn else at + self.longer

    def plain_of(self, wire: int) -> int:
        """Which plain byte of the frame stands there or, where none does, was the last one before."""
        plain = self.start + max(wire - self.frame, 0)
        return plain if plain < self.turn else max(plain - self.longer, self.turn - 1)

    def plain_from(self, wire: int) -> int:
        """The first plain byte of the frame that stands there or behind."""
        plain = self.plain_of(wire)
        return plain if self.wire_of(plain) >= wire else plain + 1

    @property
    def longer(self) -> int:
        """By how many bytes the frame is longer than its data."""
        return self.wire_end - self.frame - (self.end - self.start)


class Ledger:
    """An ordered record of frames, without gaps in either number space."""

    __slots__ = ("_records", "_starts", "_wires", "end", "wire_end")

    def __init__(self, start: int, wire: int) -> None:
        self._records: list[Record] = []
        self._starts: list[int] = []
        self._wires: list[int] = []
        self.end = start
        """Plain: behind the last frame."""
        self.wire_end = wire
        """Wire: behind the last frame."""

    @property
    def start(self) -> int:
        """Plain: the oldest byte that is kept."""
        return self._starts[0] if self._starts else self.end

    @property
    def wire(self) -> int:
        """Wire: the oldest byte that is kept."""
        return self._wires[0] if self._wires else self.wire_end

    @property
    def cost(self) -> int:
        """Bytes that count for the bound on what is kept."""
        wires = self._wires
        return self.wire_end - wires[0] + FRAME_COST * len(wires) if wires else 0

    @property
    def trailing(self) -> Record | None:
        """The frames without data at the end, if any."""
        records = self._records
        return records[-1] if records and records[-1].start == records[-1].end else None

    def append(self, length: int, wire_length: int, kept: Buffer, first: int = 0) -> None:
        """Adds the next frame: bytes of data, bytes in all, and what to keep of it.

        `first`: bytes of data in the segment that all other bytes of the frame travel with; 0: in the last one.
        """
        start, wire = self.end, self.wire_end
        turn = start + (first or length)
        end, wire_end = start + length, wire + wire_length
        frame, empty = (wire, 0) if length else (wire_end, 1)
        records = self._records
        before = records[-1] if records else None
        if before is None or before.start != before.end:
            self._starts.append(start)
            self._wires.append(wire)
            records.append(Record(start, end, wire, frame, wire_end, turn, kept, empty))
        else:
            kept = b"".join((before.kept, kept)) if before.kept else kept
            empty += before.empty_frames
            records[-1] = Record(start, end, before.wire, frame, wire_end, turn, kept, empty)
        self.end, self.wire_end = end, wire_end

    def drop_wire(self, wire: int) -> list[Record]:
        """Drops the records that end at or before a wire offset, and gives them."""
        count = bisect_right(self._records, wire, key=_wire_end)
        dropped = self._records[:count]
        self._drop(count)
        return dropped

    def drop_plain(self, plain: int) -> None:
        """Drops the records that end at or before a plain offset."""
        self._drop(bisect_right(self._records, plain, key=_plain_end))

    def _drop(self, count: int) -> None:
        if count:
            del self._records[:count], self._starts[:count], self._wires[:count]

    def _at_plain(self, plain: int) -> Record | None:
        """The record that the plain byte stands in; the first one when it is older, None behind the end."""
        if plain >= self.end or not self._records:
            return None
        return self._records[max(bisect_right(self._starts, plain) - 1, 0)]

    def _at_wire(self, wire: int) -> Record | None:
        """The record that the wire byte stands in; the first one when it is older, None behind the end."""
        if wire >= self.wire_end or not self._records:
            return None
        return self._records[max(bisect_right(self._wires, wire) - 1, 0)]

    def to_wire(self, plain: int) -> int:
        """The wire offset that corresponds to an acknowledgment of everything before a plain byte.

        At the end of a frame that includes the frames without data that follow. What lies beyond the ledger maps to
        its ends.
        """
        record = self._at_plain(plain)
        if record is None:
            return self.wire_end
        return record.wire_of(plain) if plain > record.start else record.frame

    def to_plain(self, wire: int) -> int:
        """The plain offset that corresponds to an acknowledgment of everything before a wire byte.

        A byte counts only with what travels with it, such as the tag, since a sender that has forgotten the byte never
        sends that again. What lies beyond the ledger maps to its ends.
        """
        record = self._at_wire(wire)
        if record is None:
            return self.end
        return record.plain_of(wire) if wire > record.frame else record.start

    def start_of(self, wire: int) -> int:
        """The plain start of the record that a wire byte stands in, of the first one when it is older."""
        record = self._at_wire(wire)
        return self.end if record is None else record.start

    def held_from(self, wire: int) -> int:
        """The first plain byte that need not be sent again when the wire bytes from `wire` on have arrived.

        A frame's first byte needs everything that travels with it.
        """
        record = self._at_wire(wire)
        if record is None:
            return self.end
        if wire <= record.wire:
            return record.start
        return min(max(record.plain_from(wire), record.start + 1), record.end)

    def begin(self, plain: int) -> int:
        """The first wire byte that travels with a plain byte."""
        record = self._at_plain(plain)
        if record is None:
            last = self.trailing
            return last.wire if last is not None else self.wire_end
        return record.wire_of(plain) if plain > record.start else record.wire

    def finish(self, plain: int) -> int:
        """Behind the last wire byte that travels with the plain byte before `plain`, which is kept."""
        record = self._at_plain(plain - 1)
        if record is None:
            return self.wire_end
        return record.wire_of(plain) if plain < record.end else record.wire_end

    def sealed(self, wire: int, wire_end: int) -> Buffer:
        """The wire bytes from `wire` up to `wire_end`, of a ledger that keeps the sealed bytes."""
        parts: list[Buffer] = []
        for record in self._records[max(bisect_right(self._wires, wire) - 1, 0) :]:
            if record.wire >= wire_end:
                break
            if wire <= record.wire and record.wire_end <= wire_end:
                parts.append(record.kept)
            else:
                first, last = max(wire - record.wire, 0), min(wire_end, record.wire_end) - record.wire
                parts.append(memoryview(record.kept)[first:last])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def plaintext(self, start: int, end: int) -> bytes:
        """The plain bytes from `start` up to `end`, of a ledger that keeps the data."""
        parts: list[Buffer] = []
        for record in self._records[max(bisect_right(self._starts, start) - 1, 0) :]:
            if record.start >= end:
                break
            parts.append(memoryview(record.kept)[max(start - record.start, 0) : end - record.start])
        return b"".join(parts)


def _wire_end(record: Record) -> int:
    return record.wire_end


def _plain_end(record: Record) -> int:
    return record.end
