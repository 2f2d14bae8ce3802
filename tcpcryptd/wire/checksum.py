"""The Internet checksum (RFC 1071) over IPv4 headers and TCP segments."""

from typing import Final

import numpy
from librt.strings import read_i64_le
from mypy_extensions import i64

from tcpcryptd.wire.build import COMPILED

_LOOP_LIMIT: Final = 16384
"""Bytes up to which a loop over 64-bit words is faster than numpy, once it is compiled."""
_BIG_INTEGER_LIMIT: Final = 1024
"""The same for one big-integer remainder."""

_TCP: Final = 6
_WORD: Final = numpy.dtype("<u4")
_SUM: Final = None if numpy.dtype(numpy.uint).itemsize == 8 else numpy.dtype(numpy.uint64)
"""Sums take 64 bits; naming the type costs time where that is the default."""
_add = numpy.add.reduce


def ones_complement_sum(data: bytes | bytearray | memoryview) -> int:
    """The sum of `data` as big-endian 16-bit words modulo 65535; an odd last byte is padded with zero."""
    length = len(data)
    if COMPILED and length <= _LOOP_LIMIT:
        return _sum_in_a_loop(data if isinstance(data, bytes) else bytes(data))
    if length <= _BIG_INTEGER_LIMIT:
        total = int.from_bytes(data, "big")
        return (total << 8 if length & 1 else total) % 65535
    words = length >> 2
    swapped = _swapped(int(_add(numpy.frombuffer(data, _WORD, words), 0, _SUM)))
    return (swapped + ones_complement_sum(data[words << 2 :])) % 65535


def _swapped(little: int) -> int:
    """Of a sum of words in the other byte order: that is the sum with its bytes swapped (RFC 1071, section 2B)."""
    little %= 65535
    return (little & 0xFF) << 8 | little >> 8


def _sum_in_a_loop(data: bytes) -> int:
    end: i64 = len(data)
    index: i64 = 0
    total: i64 = 0
    while index + 8 <= end:
        # Read with a sign. 2^32 is 1 modulo 65535, as 2^16 is.
        word: i64 = read_i64_le(data, index)
        total += (word & 0xFFFFFFFF) + (word >> 32 & 0xFFFFFFFF)
        index += 8
    while index < end:
        total += i64(data[index]) << ((index & 1) << 3)
        index += 1
    return _swapped(int(total))


def address_sum(addresses: bytes) -> int:
    """The pseudo header's part that stays the same for a connection: both addresses and the protocol number."""
    return ones_complement_sum(addresses) + _TCP


def tcp_checksum(addresses: bytes, segment: bytes | bytearray) -> int:
    """The checksum of a TCP segment whose checksum field is zero; `addresses` is source | destination.

    Of a segment with its checksum in place the result is 0, or 0xFFFF, exactly when that checksum is right.
    """
    return (address_sum(addresses) + len(segment) + ones_complement_sum(segment)) % 65535 ^ 0xFFFF
