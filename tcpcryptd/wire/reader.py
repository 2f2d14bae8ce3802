"""A bounded reader over a message, which must be consumed exactly."""

from types import TracebackType
from typing import Self


class ReadError(ValueError):
    """A message ended early, went on after its end, or holds a length that does not add up."""


class Reader:
    """Reads big-endian fields from `data`, in order, and never past its end.

    Used as a context manager it raises ReadError at the end of the block when bytes are left over.
    """

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None and self.remaining:
            raise ReadError(f"{self.remaining} bytes after the end of the message")

    @property
    def remaining(self) -> int:
        """How many bytes have not been read."""
        return len(self._data) - self._position

    def take(self, size: int) -> bytes:
        """The next `size` bytes; raises ReadError when fewer are left."""
        end = self._position + size
        if size < 0 or end > len(self._data):
            raise ReadError(f"{size} bytes wanted, {self.remaining} left")
        data = self._data[self._position : end]
        self._position = end
        return data

    def uint(self, size: int) -> int:
        """An unsigned integer of `size` bytes, big endian."""
        return int.from_bytes(self.take(size), "big")

    def rest(self) -> bytes:
        """Everything that is left, which may be nothing."""
        return self.take(self.remaining)
