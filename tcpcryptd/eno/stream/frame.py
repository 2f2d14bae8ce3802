"""Encryption frames (RFC 8548, sections 3.6, 3.7 and 4.2).

A frame is: control (1 byte), clen (2 bytes, big endian), ciphertext (clen bytes). Control and clen are the associated
data. The plaintext is: flags (1 byte), urgent (2 bytes, big endian, only with URGp), data. Reserved bits are sent as
zero and ignored.
"""

import struct
from collections.abc import Callable
from typing import Final, Protocol

Buffer = bytes | bytearray | memoryview

HEADER: Final = struct.Struct(">BH")
"""Control and clen."""
_URGENT: Final = struct.Struct(">BH")
"""Flags and urgent."""

REKEY: Final = 0x01
"""Of control: the first frame of a key generation."""
FINP: Final = 0x01
URGP: Final = 0x02
"""Of flags."""

HEADER_LENGTH: Final = HEADER.size
TAG_LENGTH: Final = 16
"""Of each AEAD algorithm of RFC 8548, section 6."""
URGENT_LENGTH: Final = 2
MIN_CIPHERTEXT: Final = 1 + TAG_LENGTH
MAX_CIPHERTEXT: Final = 0xFFFF
MAX_DATA: Final = MAX_CIPHERTEXT - TAG_LENGTH - 1 - URGENT_LENGTH
"""Data that fits one frame, whether urgent or not."""
MAX_URGENT: Final = 0xFFFF
"""The largest distance of the last urgent byte from a frame's first byte."""


_LARGE: Final = 4096
"""Bytes of plaintext from which on a copy of the ciphertext costs more than what avoids it."""


class MalformedFrame(ValueError):
    """An authentic frame does not follow the format: the peer is broken."""


class FrameProtection(Protocol):
    """The AEAD under one traffic key; `offset` is where the frame begins in the TCP data stream."""

    def rest(self) -> None:
        """Drop what the next frame makes again from the key."""

    def seal(self, offset: int, header: Buffer, plaintext: Buffer) -> bytes:
        """The ciphertext with its tag."""

    def seal_into(self, offset: int, header: Buffer, plaintext: Buffer, place: memoryview) -> None:
        """Writes it to a place that is as long."""

    def open(self, offset: int, header: Buffer, ciphertext: Buffer) -> bytes | None:
        """The plaintext; None when the ciphertext, the header or the offset is not what was sealed."""


KeyChain = Callable[[int], FrameProtection]
"""The protection of generation j in one direction. Generations are asked for in order, and each from the frame on that
has rekey = 1; it may be asked for again, but none before the current one is."""


class OpenedFrame:
    """The plaintext of an authentic frame."""

    __slots__ = ("data", "fin", "urgent")

    def __init__(self, data: Buffer, fin: bool, urgent: int | None) -> None:
        self.data = data
        self.fin = fin
        """FINp: no frame follows."""
        self.urgent = urgent
        """Offset of the last urgent byte from the first byte of data."""


def seal_frame(
    protection: FrameProtection, offset: int, data: Buffer, *, rekey: bool, fin: bool, urgent: int | None
) -> bytes | bytearray:
    """The whole frame; data of at most MAX_DATA bytes, `urgent` of at most MAX_URGENT."""
    plaintext = b"\x01" + data if fin else b"\0" + data
    if urgent is not None:
        plaintext = _URGENT.pack(plaintext[0] | URGP, urgent) + data
    header = HEADER.pack(rekey, len(plaintext) + TAG_LENGTH)
    if len(plaintext) < _LARGE:
        return header + protection.seal(offset, header, plaintext)
    frame = bytearray(HEADER_LENGTH + len(plaintext) + TAG_LENGTH)
    frame[:HEADER_LENGTH] = header
    protection.seal_into(offset, header, plaintext, memoryview(frame)[HEADER_LENGTH:])
    return frame


def open_frame(protection: FrameProtection, offset: int, frame: memoryview) -> OpenedFrame | None:
    """The plaintext of a whole frame, None when it is not authentic.

    Raises:
        MalformedFrame: URGp without an urgent field.
    """
    plaintext = protection.open(offset, frame[:HEADER_LENGTH], frame[HEADER_LENGTH:])
    if plaintext is None:
        return None
    flags = plaintext[0]
    if not flags & URGP:
        return OpenedFrame(memoryview(plaintext)[1:], flags & FINP != 0, None)
    if len(plaintext) < _URGENT.size:
        raise MalformedFrame("URGp without an urgent field")
    urgent: int = _URGENT.unpack_from(plaintext)[1]
    return OpenedFrame(memoryview(plaintext)[_URGENT.size :], flags & FINP != 0, urgent)
