"""The CRYPT option's suboptions (docs/crypt-option.md section 1)."""

from dataclasses import dataclass
from typing import Final

from tcpcryptd.crypt.constants import (
    CRYPT,
    FIRST_OF_FIXED_LENGTH,
    FIRST_WITH_LENGTH,
    FIXED_LENGTHS,
    SESSION_PREFIX_SIZE,
    Opcode,
)
from tcpcryptd.wire import options
from tcpcryptd.wire.reader import Reader, ReadError
from tcpcryptd.wire.segment import Segment

_KNOWN: Final = frozenset(Opcode)


class CryptOptionError(ValueError):
    """A CRYPT option that ends early or whose suboptions have no knowable length; it counts as absent."""


@dataclass(slots=True)
class Suboption:
    """An opcode and what follows it, without its length byte."""

    opcode: int
    body: bytes = b""


HELLO: Final = Suboption(Opcode.HELLO)


def parse(value: bytes) -> list[Suboption]:
    """The suboptions of a CRYPT option's value that this protocol knows; an empty value is HELLO.

    Raises CryptOptionError.
    """
    if not value:
        return [HELLO]
    found = []
    try:
        with Reader(value) as reader:
            while reader.remaining:
                suboption = _read(reader)
                if suboption.opcode in _KNOWN:
                    found.append(suboption)
    except ReadError as error:
        raise CryptOptionError(str(error)) from error
    return found


def _read(reader: Reader) -> Suboption:
    opcode = reader.uint(1)
    if opcode < FIRST_WITH_LENGTH:
        return Suboption(opcode)
    if opcode < FIRST_OF_FIXED_LENGTH:
        return Suboption(opcode, reader.take(reader.uint(1) - 2))
    if opcode not in FIXED_LENGTHS:
        raise CryptOptionError(f"suboption 0x{opcode:02x} has no known length")
    return Suboption(opcode, reader.take(FIXED_LENGTHS[Opcode(opcode)] - 1))


def encode(suboption: Suboption) -> bytes:
    """A whole CRYPT option with one suboption, not padded; HELLO is sent as the original sends it, empty."""
    if suboption.opcode == Opcode.HELLO:
        return options.encode(CRYPT)
    body = suboption.body
    if FIRST_WITH_LENGTH <= suboption.opcode < FIRST_OF_FIXED_LENGTH:
        body = bytes((len(body) + 2,)) + body
    return options.encode(CRYPT, bytes((suboption.opcode,)) + body)


def read(segment: Segment) -> list[Suboption]:
    """The suboptions that a segment carries; none when it has no CRYPT option or one that cannot be read."""
    value = segment.option(CRYPT)
    if value is None:
        return []
    try:
        return parse(value)
    except CryptOptionError:
        return []


def as_sent(segment: Segment) -> bytes:
    """A segment's CRYPT option as it stands there; empty: there is none."""
    value = segment.option(CRYPT)
    return b"" if value is None else options.encode(CRYPT, value)


def opens(value: bytes | None) -> bool:
    """An option of a SYN has one suboption and no more: TCP-ENO's, of the same kind, can begin with HELLO's byte."""
    if not value or value[0] in (Opcode.HELLO, Opcode.HELLO_SUPPORT):
        return value is not None and len(value) <= 1
    return len(value) == 1 + SESSION_PREFIX_SIZE


def find(suboptions: list[Suboption], *opcodes: Opcode) -> Suboption | None:
    """The first suboption with one of these opcodes."""
    return next((suboption for suboption in suboptions if suboption.opcode in opcodes), None)


def append(option_area: bytes, suboption: Suboption) -> bytes | None:
    """An option area with a CRYPT option at its end, padded as the original daemon pads; None when it does not fit."""
    area = options.pad(option_area + encode(suboption))
    return area if len(area) <= options.MAX_LENGTH else None
