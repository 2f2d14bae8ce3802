"""Segments that the local kernel left to be cut, sealed in one pass (docs/crypt-option.md sections 5 and 6).

They are what the kernel's own segmentation would have made of the packet (`tcp_gso_segment` in Linux), each sealed: PSH
and FIN in the last one, CWR in the first, IPv4 identifications that count on.
"""

from typing import Final, NamedTuple

from librt.strings import BytesWriter

from tcpcryptd.crypt.constants import MAC
from tcpcryptd.crypt.protection.session import Keys
from tcpcryptd.wire.checksum import ones_complement_sum
from tcpcryptd.wire.header import replaced
from tcpcryptd.wire.segment import CWR, FIN, PSH, URG, Segment
from tcpcryptd.wire.sequence import MASK
from tcpcryptd.wire.words import put32, put64

_M_MAGIC: Final = 0x8000


def authenticated_header(length: int, data_offset: int, flags: int, urgent: int, number: int) -> bytes:
    """M: length, data offset in words, flags, urgent pointer, extended number (docs/crypt-option.md section 6)."""
    writer = BytesWriter()
    put32(writer, _M_MAGIC << 16 | length)
    put32(writer, data_offset << 24 | flags << 16 | urgent)
    put64(writer, number)
    return writer.getvalue()


class Whole(NamedTuple):
    """A packet to be cut, and what all its pieces have in common. Numbers are those on the wire."""

    segment: Segment
    sequence: int
    """Extended, of the first byte."""
    acknowledgment: int
    extended_acknowledgment: bytes
    """A (docs/crypt-option.md section 6)."""
    mask: int
    """For the extended numbers that enter M."""
    address_sum: int


def sealed_pieces(
    whole: Whole, start: int, end: int, room: int, index: int, area: bytes, covered: bytes, keys: Keys
) -> bytes:
    """Whole IP packets, one after the other, with the bytes from `start` to `end` of the payload.

    All but the last have `room` bytes of payload, and all have `area` for their options and a MAC behind them;
    `covered`: the options that enter the MAC. `index` packets come before them. One packet when there is no payload.
    """
    segment = whole.segment
    packet, offset = segment.packet, segment.offset
    base, total = segment.payload_start, segment.payload_length
    seal = keys.outgoing.seal
    mac_length = keys.suite.tag_length + 2
    padding = bytes(-(len(area) + mac_length) & 3)
    prefix = area + bytes((MAC, mac_length))
    header_length = 20 + len(prefix) + mac_length - 2 + len(padding)
    acknowledgment, extended_acknowledgment, mask = whole.acknowledgment, whole.extended_acknowledgment, whole.mask
    # All waits for the acknowledgment of the one segment that says REKEY.
    alone = keys.suite.quiet_rekeying and bool(covered)
    parts: list[bytes] = []
    at = start
    while True:
        stop = min(at + room, end)
        flags, urgent = segment.flags, segment.urgent
        if flags & URG:
            urgent = max(urgent - at, 0)
            flags &= 0xFF if urgent else ~URG
        if at:
            flags &= ~CWR
        if stop < total:
            flags &= ~(FIN | PSH)
        if alone and stop > at:
            flags |= PSH
        extended = whole.sequence + at
        length = header_length + stop - at
        number = extended & mask
        header = authenticated_header(length, header_length >> 2, flags, urgent, number)
        ciphertext, tag = seal(number, header, extended_acknowledgment, covered, packet[base + at : base + stop])
        options = b"".join((prefix, tag, padding))
        sums = whole.address_sum + ones_complement_sum(options) + ones_complement_sum(ciphertext)
        fields = extended & MASK, acknowledgment, flags, urgent
        parts.append(replaced(packet, offset, fields, options, ciphertext, sums, index))
        at = stop
        index += 1
        if at >= end:
            break
    return b"".join(parts)
