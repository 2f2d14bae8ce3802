"""The Internet checksum (RFC 1071) over IPv4 headers and TCP segments."""

from typing import Final

import numpy
from mypy_extensions import i64

from tcpcryptd.wire.build import COMPILED

_BYTE_BY_BYTE_LIMIT: Final = 4096
"""Bytes up to which a loop is faster than numpy's set-up, once it is compiled."""
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
    if COMPILED and length <= _BYTE_BY_BYTE_LIMIT:
        return _sum_of_bytes(data if isinstance(data, bytes) else bytes(data))
    if length <= _BIG_INTEGER_LIMIT:
        total = int.from_bytes(data, "big")
        return (total << 8 if length & 1 else total) % 65535
    words = length >> 2
    # A sum of byte-swapped words is the byte-swapped sum (RFC 1071, section 2B).
    little = int(_add(numpy.frombuffer(data, _WORD, words), 0, _SUM)) % 65535
    swapped = (little & 0xFF) << 8 | little >> 8
    return (swapped + ones_complement_sum(data[words << 2 :])) % 65535


def _sum_of_bytes(data: bytes) -> int:
    end: i64 = len(data)
    index: i64 = 1
    total: i64 = 0
    while index < end:
        total += i64(data[index - 1]) << 8 | i64(data[index])
        index += 2
    if end & 1:
        total += i64(data[end - 1]) << 8
    return int(total % 65535)


def address_sum(addresses: bytes) -> int:
    """The pseudo header's part that stays the same for a connection: both addresses and the protocol number."""
    return ones_complement_sum(addresses) + _TCP


def tcp_checksum(addresses: bytes, segment: bytes | bytearray) -> int:
    """The checksum of a TCP segment whose checksum field is zero; `addresses` is source | destination.

    Of a segment with its checksum in place the result is 0, or 0xFFFF, exactly when that checksum is right.
    """
    return (address_sum(addresses) + len(segment) + ones_complement_sum(segment)) % 65535 ^ 0xFFFF
