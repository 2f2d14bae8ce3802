"""Unsigned big-endian integers at a place in a packet, or at the end of one that is being written.

Compiled, one takes a few machine instructions; `struct` takes a call, a tuple and an object for each number. Reading
past the end raises IndexError.
"""

from librt.strings import BytesWriter, read_i16_be, read_i32_be, write_i16_be, write_i32_be
from mypy_extensions import i16, i32, i64


def uint16(data: bytes, offset: int) -> int:
    """The two bytes at `offset`."""
    return int(i64(read_i16_be(data, i64(offset))) & 0xFFFF)


def uint32(data: bytes, offset: int) -> int:
    """The four bytes at `offset`."""
    return int(i64(read_i32_be(data, i64(offset))) & 0xFFFFFFFF)


def put16(writer: BytesWriter, number: int) -> None:
    """The lower two bytes of `number`."""
    # A sign for the upper bit: compiled, a number that does not fit would be cut, interpreted it would raise.
    write_i16_be(writer, i16((i64(number) & 0xFFFF ^ 0x8000) - 0x8000))


def put32(writer: BytesWriter, number: int) -> None:
    """The lower four bytes of `number`."""
    write_i32_be(writer, i32((i64(number) & 0xFFFFFFFF ^ 0x80000000) - 0x80000000))


def put64(writer: BytesWriter, number: int) -> None:
    """Eight bytes."""
    put32(writer, number >> 32)
    put32(writer, number & 0xFFFFFFFF)
