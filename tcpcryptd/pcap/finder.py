"""Looks for a text in chunks."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tcpcryptd.pcap.chunk import Chunk, Kind

MAX_MATCHES = 1000
"""In one direction of one connection and one kind of bytes. One more is reported, as the first that is not listed."""


@dataclass(frozen=True, slots=True)
class Match:
    """The text stands here."""

    chunk: Chunk
    """What completed it."""
    offset: int
    """Where it begins, as a chunk's offset."""
    is_beyond: bool = False
    """MAX_MATCHES came before it, and none is reported after it."""


@dataclass(slots=True)
class _Stream:
    next: int = -1
    """The offset behind `tail`; -1: nothing has come."""
    tail: bytes = b""
    found: set[int] = field(default_factory=set)


class Finder:
    """Finds a text, also across the borders of segments that are contiguous; once at each offset."""

    def __init__(self, text: bytes) -> None:
        """Raises ValueError for an empty text."""
        if not text:
            raise ValueError("empty text")
        self._text = text
        self._streams: dict[tuple[int, bool, Kind], _Stream] = {}

    def feed(self, chunk: Chunk) -> Iterator[Match]:
        """The matches that end in a chunk."""
        key = chunk.connection, chunk.from_opener, chunk.kind
        stream = self._streams.setdefault(key, _Stream())
        data, start = chunk.data, chunk.offset
        end = start + len(data)
        # What repeats or overlaps what has come, and what goes on where it ended, is read behind the tail.
        goes_on = start <= stream.next < end
        if goes_on:
            data = stream.tail + data[stream.next - start :]
            start = stream.next - len(stream.tail)
        for at in self._positions(data):
            before = len(stream.found)
            if start + at not in stream.found and before <= MAX_MATCHES:
                stream.found.add(start + at)
                yield Match(chunk, start + at, is_beyond=before == MAX_MATCHES)
        if goes_on or end > stream.next:
            stream.next = end
            kept = len(self._text) - 1
            stream.tail = data[-kept:] if kept else b""

    def _positions(self, data: bytes) -> Iterator[int]:
        at = data.find(self._text)
        while at >= 0:
            yield at
            at = data.find(self._text, at + 1)
