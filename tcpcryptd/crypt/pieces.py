"""Segments that the local kernel left to be cut, sealed in one pass (spec sections 5 and 6).

They are what the kernel's own segmentation would have made of the packet (`tcp_gso_segment` in Linux), each sealed: PSH
and FIN in the last one, CWR in the first, IPv4 identifications that count on.
"""

import struct
from typing import Final, NamedTuple

from tcpcryptd.crypt.constants import MAC
from tcpcryptd.crypt.session import Keys
from tcpcryptd.wire.checksum import ones_complement_sum, ones_complement_sums
from tcpcryptd.wire.segment import CWR, FIN, PSH, TCP_HEADER, URG, Segment, with_length
from tcpcryptd.wire.sequence import MASK

_M_MAGIC: Final = b"\x80\x00"
_UINT16: Final = struct.Struct(">H")
_MANY: Final = 3
"""Packets from which on one pass over all of them is faster than one for each."""


def authenticated_header(length: int, data_offset: int, flags: int, urgent: int, number: int) -> bytes:
    """M: TCP length, data offset in words, flags, urgent pointer, extended sequence number (spec section 6)."""
    fields = length << 32 | data_offset << 24 | flags << 16 | urgent
    return _M_MAGIC + fields.to_bytes(6, "big") + number.to_bytes(8, "big")


class Whole(NamedTuple):
    """A packet to be cut, and what all its pieces have in common. Numbers are those on the wire."""

    segment: Segment
    sequence: int
    """Extended, of the first byte."""
    acknowledgment: int
    extended_acknowledgment: bytes
    """A (spec section 6)."""
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
    source, destination, _, _, data_offset, all_flags, window, _, last_urgent = TCP_HEADER.unpack_from(packet, offset)
    base, total = segment.payload_start, segment.payload_length
    seal = keys.outgoing.seal
    mac_length = keys.suite.tag_length + 2
    padding = bytes(-(len(area) + mac_length) & 3)
    prefix = area + bytes((MAC, mac_length))
    header_length = 20 + len(prefix) + mac_length - 2 + len(padding)
    acknowledgment, extended_acknowledgment, mask = whole.acknowledgment, whole.extended_acknowledgment, whole.mask
    parts: list[bytes] = []
    at = start
    while True:
        stop = min(at + room, end)
        flags, urgent = all_flags, last_urgent
        if flags & URG:
            urgent = max(urgent - at, 0)
            flags &= 0xFF if urgent else ~URG
        if at:
            flags &= ~CWR
        if stop < total:
            flags &= ~(FIN | PSH)
        extended = whole.sequence + at
        length = header_length + stop - at
        number = extended & mask
        header = authenticated_header(length, header_length >> 2, flags, urgent, number)
        ciphertext, tag = seal(number, header, extended_acknowledgment, covered, packet[base + at : base + stop])
        tcp = TCP_HEADER.pack(
            source,
            destination,
            extended & MASK,
            acknowledgment,
            header_length << 2 | data_offset & 0x0F,
            flags,
            window,
            0,
            urgent,
        )
        parts += (with_length(packet[:offset], offset + length, index), tcp, prefix, tag, padding, ciphertext)
        at = stop
        index += 1
        if at >= end:
            break
    packets = bytearray(b"".join(parts))
    _fill_in_checksums(packets, offset, min(offset + header_length + room, len(packets)), whole.address_sum)
    return bytes(packets)


def _fill_in_checksums(packets: bytearray, offset: int, stride: int, address_sum: int) -> None:
    """Writes the checksums of adjacent TCP segments, all as long as the first one but the last."""
    count = len(packets) // stride
    sums = []
    if count >= _MANY and not (stride | offset) & 1:
        sums = ones_complement_sums(packets, count, stride, offset)
    view = memoryview(packets)
    for index, start in enumerate(range(0, len(packets), stride)):
        stop = min(start + stride, len(packets))
        total = sums[index] if index < len(sums) else ones_complement_sum(view[start + offset : stop])
        checksum = (address_sum + stop - start - offset + total) % 65535 ^ 0xFFFF
        _UINT16.pack_into(packets, start + offset + 16, checksum)
