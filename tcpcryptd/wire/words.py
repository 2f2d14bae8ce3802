"""Unsigned big-endian integers at a place in a packet.

Compiled, reading one takes a few machine instructions; `struct` takes a call, a tuple and an object for each number.
Past the end they raise IndexError.
"""

from mypy_extensions import i64


def uint16(data: bytes, offset: int) -> int:
    """The two bytes at `offset`."""
    at: i64 = offset
    return int(i64(data[at]) << 8 | i64(data[at + 1]))


def uint32(data: bytes, offset: int) -> int:
    """The four bytes at `offset`."""
    at: i64 = offset
    return int(i64(data[at]) << 24 | i64(data[at + 1]) << 16 | i64(data[at + 2]) << 8 | i64(data[at + 3]))
