"""TCP options: kind, length, value (RFC 9293, section 3.1)."""

from collections.abc import Iterable
from typing import Final

EOL: Final = 0
NOP: Final = 1
MSS: Final = 2
WINDOW_SCALE: Final = 3
SACK_PERMITTED: Final = 4
SACK: Final = 5
TIMESTAMP: Final = 8
MD5_SIGNATURE: Final = 19
TCP_AO: Final = 29
MPTCP: Final = 30

MAX_LENGTH: Final = 40
"""Bytes that the options of one segment can take."""

Option = tuple[int, bytes]
"""Kind and value; the length byte is derived."""


class OptionError(ValueError):
    """An option whose length is less than 2 or reaches past the end of the header."""


def _spans(area: bytes) -> list[tuple[int, int, int]]:
    """Kind, start and end of each option but NOP and EOL.

    The search goes on after EOL, because the original daemon puts options behind its padding (docs/crypt-option.md
    section 1). What cannot be read as options there is padding.

    Raises OptionError for a bad length before the first EOL.
    """
    spans = []
    start, ended, size = 0, False, len(area)
    while start < size:
        kind = area[start]
        if kind in (EOL, NOP):
            ended |= kind == EOL
            start += 1
            continue
        length = area[start + 1] if start + 1 < size else 0
        if length < 2 or start + length > size:
            if ended:
                break
            raise OptionError(f"option {kind} of length {length} at byte {start} of {size}")
        spans.append((kind, start, start + length))
        start += length
    return spans


def parse(area: bytes) -> list[Option]:
    """The options of a header's option area, in order, without NOP and EOL; raises OptionError."""
    return [(kind, area[start + 2 : end]) for kind, start, end in _spans(area)]


def find(options: Iterable[Option], kind: int) -> bytes | None:
    """The value of the first option of a kind."""
    for found, value in options:
        if found == kind:
            return value
    return None


def encode(kind: int, value: bytes = b"") -> bytes:
    """One option with its length byte."""
    return bytes((kind, len(value) + 2)) + value


def pad(area: bytes) -> bytes:
    """An option area filled up with EOL to a multiple of four bytes."""
    return area + bytes(-len(area) % 4)


def replace(area: bytes, edits: dict[int, bytes | None]) -> bytes:
    """An option area in which options were given a new value, or blanked with NOP for None.

    An option whose value has another length is left as it is. Raises OptionError.
    """
    edited = bytearray(area)
    for kind, start, end in _spans(area):
        if kind not in edits:
            continue
        value = edits[kind]
        new = bytes((NOP,)) * (end - start) if value is None else encode(kind, value)
        if len(new) == end - start:
            edited[start:end] = new
    return bytes(edited)
