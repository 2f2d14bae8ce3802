"""Wire bytes that come in any order, and the contiguous ones among them."""

from bisect import bisect_left
from collections.abc import Iterable
from enum import Enum
from heapq import nlargest
from typing import Final

from tcpcryptd.eno.limits import Limits
from tcpcryptd.eno.stream.frame import Buffer

MAX_SACK_BLOCKS: Final = 4
"""Blocks that fit the option space (RFC 2018, section 3)."""


class Kept(Enum):
    """What was done with a segment."""

    YES = "kept"
    REFUSED = "beyond a bound"
    KNOWN = "held already"
    CONFLICT = "kept, and what was held before is discarded, since it has other bytes at the same offset"


class _Range:
    """Contiguous bytes."""

    __slots__ = ("chunks", "end", "stamp", "start")

    def __init__(self, start: int, end: int, chunks: list[Buffer], stamp: int) -> None:
        self.start = start
        self.end = end
        self.chunks = chunks
        self.stamp = stamp
        """Larger for a range that grew later."""


class Reassembly:
    """Holds segments until the bytes before them have come. Payloads are kept as they are and must not change."""

    __slots__ = ("_limits", "_ranges", "_segments", "_stamp", "next", "pinned")

    def __init__(self, start: int, limits: Limits) -> None:
        self.next = start
        """Wire: the first byte that has not been consumed."""
        self.pinned = start
        """Wire: behind what has been acknowledged; `next` unless that is more. Nobody can send what is before again."""
        self._limits = limits
        self._ranges: list[_Range] = []
        """In order, apart from each other; the first one begins at `next` or later."""
        self._segments = 0
        self._stamp = 0

    def __bool__(self) -> bool:
        """Whether anything is held."""
        return bool(self._ranges)

    @property
    def contiguous(self) -> int:
        """How many bytes are held from `next` on without a hole."""
        ranges = self._ranges
        return ranges[0].end - self.next if ranges and ranges[0].start == self.next else 0

    @property
    def has_gap(self) -> bool:
        """Whether bytes are held behind a hole."""
        ranges = self._ranges
        return bool(ranges) and (len(ranges) > 1 or ranges[0].start != self.next)

    @property
    def segments(self) -> int:
        """How many pieces are held."""
        return self._segments

    def consume(self, count: int) -> None:
        """Goes on to behind `count` bytes, all of which are held if any are."""
        self.next += count
        self.pinned = max(self.pinned, self.next)
        if self._ranges:
            head = self._ranges[0]
            if head.end == self.next:
                self._segments -= len(head.chunks)
                del self._ranges[0]
            else:
                head.chunks = [bytes(memoryview(self._joined(head))[count:])]
                head.start = self.next

    def pin(self) -> None:
        """Notes that the contiguous bytes are acknowledged, so that they are no longer discarded."""
        self.pinned = self.next + self.contiguous

    def discard(self) -> None:
        """Forgets what is held and not pinned, also what was selectively acknowledged (RFC 2018, section 8)."""
        pinned = bytes(memoryview(self.head())[: self.pinned - self.next])
        self._ranges.clear()
        self._segments = 0
        if pinned:
            self._ranges.append(_Range(self.next, self.pinned, [pinned], 0))
            self._segments = 1

    def head(self) -> Buffer:
        """The contiguous bytes from `next` on, in one piece."""
        return self._joined(self._ranges[0]) if self.contiguous else b""

    def _joined(self, head: _Range) -> Buffer:
        if len(head.chunks) > 1:
            self._segments -= len(head.chunks) - 1
            head.chunks = [b"".join(head.chunks)]
        return head.chunks[0]

    def extend(self, wire: int, payload: Buffer) -> int:
        """Holds a segment that is in order when nothing is out of order: then how many bytes are contiguous, else 0."""
        ranges = self._ranges
        if len(ranges) != 1:
            return 0
        head = ranges[0]
        if head.end != wire or head.start != self.next:
            return 0
        head.chunks.append(payload)
        head.end = wire + len(payload)
        self._segments += 1
        return head.end - self.next

    def add(self, wire: int, payload: Buffer) -> Kept:
        """Holds a segment that ends behind `next`; what lies before `next`, or is pinned, is left out."""
        end = wire + len(payload)
        if end <= self.pinned:
            return Kept.KNOWN
        if wire < self.pinned:
            payload, wire = bytes(memoryview(payload)[self.pinned - wire :]), self.pinned
        ranges = self._ranges
        self._stamp += 1
        if ranges and wire == ranges[-1].end and self._has_room(wire, end):
            last = ranges[-1]
            last.chunks.append(payload)
            last.end, last.stamp = end, self._stamp
            self._segments += 1
            return Kept.YES
        if not self._has_room(wire, end):
            return Kept.REFUSED
        return self._insert(wire, end, payload)

    def _has_room(self, wire: int, end: int) -> bool:
        # What closes the first hole is always let in: it is what lets everything else go.
        if wire == self.next + self.contiguous:
            return end <= self.next + self._limits.reach
        return end <= self.next + self._limits.reach and self._segments < self._limits.segments

    def _insert(self, wire: int, end: int, payload: Buffer) -> Kept:
        ranges = self._ranges
        first = bisect_left(ranges, wire, key=_end)
        last = first
        while last < len(ranges) and ranges[last].start <= end:
            last += 1
        touched = ranges[first:last]
        if not touched:
            if wire != self.next and len(ranges) >= self._limits.ranges:
                return Kept.REFUSED
            ranges.insert(first, _Range(wire, end, [payload], self._stamp))
            self._segments += 1
            return Kept.YES
        # Pieces are copied, so that a byte does not keep a whole packet.
        view = memoryview(payload)
        if any(_differs(held, wire, view) for held in touched):
            # One of the two is not the peer's, and only the tag can tell which: what comes again gets its chance.
            self.discard()
            self._insert(wire, end, payload)
            return Kept.CONFLICT
        if touched[0].start <= wire and end <= touched[0].end:
            touched[0].stamp = self._stamp
            return Kept.KNOWN
        self._segments -= sum(len(held.chunks) for held in touched)
        merged = touched[0] if touched[0].start <= wire else _Range(wire, wire, [], 0)
        for held in touched:
            if held is not merged:
                if held.start > merged.end:
                    merged.chunks.append(bytes(view[merged.end - wire : held.start - wire]))
                merged.chunks.extend(held.chunks)
                merged.end = held.end
        if end > merged.end:
            merged.chunks.append(bytes(view[merged.end - wire :]))
            merged.end = end
        merged.stamp = self._stamp
        self._segments += len(merged.chunks)
        ranges[first:last] = [merged]
        return Kept.YES

    def sack_blocks(self) -> list[tuple[int, int]]:
        """What is held behind a hole, the range of the latest segment first (RFC 2018, section 4); at most four."""
        latest: Iterable[_Range] = nlargest(MAX_SACK_BLOCKS, self._ranges, key=_stamp)
        return [(held.start, held.end) for held in latest if held.start != self.next]


def _end(held: _Range) -> int:
    return held.end


def _stamp(held: _Range) -> int:
    return held.stamp


def _differs(held: _Range, wire: int, payload: memoryview) -> bool:
    """Whether a segment has other bytes where it overlaps what is held."""
    at = held.start
    end = wire + len(payload)
    for chunk in held.chunks:
        first, last = max(at, wire), min(at + len(chunk), end)
        if first < last and memoryview(chunk)[first - at : last - at] != payload[first - wire : last - wire]:
            return True
        at += len(chunk)
    return False
