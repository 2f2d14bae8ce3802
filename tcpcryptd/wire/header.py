"""Headers of a packet that replaces another one, written without an object for each field."""

from typing import Final

from librt.strings import BytesWriter

from tcpcryptd.wire.segment import with_length
from tcpcryptd.wire.words import put16, put32, uint16, uint32

_BARE_IPV4: Final = 20
_BARE_IPV6: Final = 40
"""Bytes of a header without options or extension headers."""


def replaced(
    packet: bytes,
    offset: int,
    fields: tuple[int, int, int, int],
    area: bytes,
    payload: bytes,
    sums: int,
    index: int = 0,
) -> bytes:
    """The packet with another TCP header and payload; `offset`: where its TCP header starts.

    Args:
        packet: What it is made from: IP header, ports, reserved bits and window.
        offset: Of its TCP header.
        fields: Sequence number, acknowledgment number, flags, urgent pointer.
        area: The options, a multiple of 4 bytes.
        payload: What follows them.
        sums: Of the pseudo header without the length (`address_sum`), the options and the payload.
        index: So many packets of the same kind come before; IPv4's identification counts on.
    """
    sequence, acknowledgment, flags, urgent = fields
    header_length = 20 + len(area)
    length = header_length + len(payload)
    writer = BytesWriter()
    _write_ip_header(writer, packet, offset, offset + length, index)
    ports, window = uint32(packet, offset), uint16(packet, offset + 14)
    offset_and_flags = (header_length << 2 | packet[offset + 12] & 0x0F) << 8 | flags
    # 2^16 is 1 modulo 65535, so a number counts as the sum of its 16-bit words.
    total = sums + length + ports + sequence + acknowledgment + offset_and_flags + window + urgent
    _write_tcp_header(writer, ports, sequence, acknowledgment, offset_and_flags, window, total % 65535 ^ 0xFFFF, urgent)
    return b"".join((writer.getvalue(), area, payload))


def written(
    ip_header: bytes,
    ports: int,
    fields: tuple[int, int, int, int, int],
    area: bytes,
    size: int,
    sums: int | None,
    index: int = 0,
) -> bytes:
    """The headers of a packet with the IP header of another one.

    Args:
        ip_header: The whole of it; lengths and its checksum follow from what stands behind.
        ports: Source and destination, 32 bits.
        fields: Sequence number, acknowledgment number, flags, window, urgent pointer.
        area: The options, a multiple of 4 bytes.
        size: Bytes of payload, which follows.
        sums: As above; None: the checksum is left to the kernel, which makes it when it cuts the packet into segments.
        index: As above.
    """
    sequence, acknowledgment, flags, window, urgent = fields
    header_length = 20 + len(area)
    length = header_length + size
    offset = len(ip_header)
    writer = BytesWriter()
    _write_ip_header(writer, ip_header, offset, offset + length, index)
    offset_and_flags = header_length << 10 | flags
    checksum = 0
    if sums is not None:
        total = sums + length + ports + sequence + acknowledgment + offset_and_flags + window + urgent
        checksum = total % 65535 ^ 0xFFFF
    _write_tcp_header(writer, ports, sequence, acknowledgment, offset_and_flags, window, checksum, urgent)
    writer.write(area)
    return writer.getvalue()


def _write_tcp_header(
    writer: BytesWriter,
    ports: int,
    sequence: int,
    acknowledgment: int,
    offset_and_flags: int,
    window: int,
    checksum: int,
    urgent: int,
) -> None:
    put32(writer, ports)
    put32(writer, sequence)
    put32(writer, acknowledgment)
    put16(writer, offset_and_flags)
    put16(writer, window)
    put16(writer, checksum)
    put16(writer, urgent)


def _write_ip_header(writer: BytesWriter, packet: bytes, offset: int, length: int, index: int) -> None:
    """As `with_length` makes it, which also knows headers with options."""
    if offset == _BARE_IPV6 and packet[0] >> 4 == 6:
        put32(writer, uint32(packet, 0))
        put16(writer, length - _BARE_IPV6)
        writer.write(packet[6:_BARE_IPV6])
        return
    if offset != _BARE_IPV4:
        writer.write(with_length(packet[:offset], length, index))
        return
    first = uint16(packet, 0) << 16 | length
    second = (uint16(packet, 4) + index & 0xFFFF) << 16 | uint16(packet, 6)
    third = uint16(packet, 8)
    source, destination = uint32(packet, 12), uint32(packet, 16)
    put32(writer, first)
    put32(writer, second)
    put16(writer, third)
    put16(writer, (first + second + third + source + destination) % 65535 ^ 0xFFFF)
    put32(writer, source)
    put32(writer, destination)
