"""Decisions that are read from bytes, so that whoever changes the bytes changes the decisions."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Reads `data` from the front; what is asked for after its end is 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def exhausted(self) -> bool:
        """Whether all bytes are used."""
        return self._at >= len(self._data)

    def number(self, size: int = 1) -> int:
        """An unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "big")

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1, `limit` being at most 256."""
        return self.number() % limit

    def one_of(self, values: Sequence[T]) -> T:
        """One of at most 256 values."""
        return values[self.below(len(values))]

    def take(self, size: int) -> bytes:
        """At most `size` bytes."""
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken
