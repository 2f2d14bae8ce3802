"""Unsigned big-endian integers at a place in a packet.

Compiled, reading one takes a few machine instructions; `struct` takes a call, a tuple and an object for each number.
Past the end they raise IndexError.
"""

from librt.strings import read_i16_be, read_i32_be
from mypy_extensions import i64


def uint16(data: bytes, offset: int) -> int:
    """The two bytes at `offset`."""
    return int(i64(read_i16_be(data, i64(offset))) & 0xFFFF)


def uint32(data: bytes, offset: int) -> int:
    """The four bytes at `offset`."""
    return int(i64(read_i32_be(data, i64(offset))) & 0xFFFFFFFF)
