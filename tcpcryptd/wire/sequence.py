"""Sequence numbers: unsigned 32-bit integers, all arithmetic modulo 2^32 (RFC 9293, section 3.4)."""

from typing import Final

MODULUS: Final = 1 << 32
MASK: Final = MODULUS - 1
_HALF: Final = 1 << 31


def add(sequence: int, count: int) -> int:
    """`sequence` moved on by `count`, which may be negative."""
    return (sequence + count) & MASK


def difference(later: int, earlier: int) -> int:
    """The signed distance from `earlier` to `later`, between -2^31 and 2^31 - 1."""
    return ((later - earlier + _HALF) & MASK) - _HALF


def extend(sequence: int, reference: int) -> int:
    """The extended sequence number congruent to `sequence` that lies nearest to the extended number `reference`.

    Extended numbers count on where the 32-bit ones wrap. The result is negative when `sequence` lies before zero.
    """
    return reference + ((sequence - reference + _HALF) & MASK) - _HALF
