"""One TCP segment in its IP packet: a view for reading, and whole new packets for what is changed or made."""

import struct
from typing import ClassVar, Final

from tcpcryptd.wire import options
from tcpcryptd.wire import sequence as sequence_numbers
from tcpcryptd.wire.checksum import ones_complement_sum, tcp_checksum
from tcpcryptd.wire.words import uint16, uint32

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80
AE: Final = 0x01
"""Of the reserved bits, the lower four of the byte before the flags: with ECE and CWR a field of AccECN (RFC 9768)."""

TCP_HEADER: Final = struct.Struct(">HHIIBBHHH")
"""Ports, sequence, acknowledgment, data offset (upper four bits, 32-bit words) and reserved bits, flags, window,
checksum, urgent."""

_IPV4: Final = struct.Struct(">2xH2xHxB2x")
_IPV6: Final = struct.Struct(">4xHB")
_FRAGMENT: Final = 0x3FFF
_DONT_FRAGMENT: Final = 0x40
"""In the sixth byte of an IPv4 header."""
_TCP: Final = 6
_OPTIONS: Final = frozenset((0, 60))
"""Hop-by-hop and destination options (RFC 8200, section 4)."""
_ROUTING: Final = 43
_FRAGMENT_HEADER: Final = 44
_FRAGMENT_OFFSET_AND_MORE: Final = 0xFFF9
_MAX_EXTENSION_HEADERS: Final = 8
_HOP_LIMIT: Final = 64


class MalformedPacket(ValueError):
    """A packet that is cut, is a fragment, is not TCP, or whose lengths contradict each other."""


class Unseen(MalformedPacket):
    """A packet that cannot be read here, but in which the kernel would find a segment: it must not get it."""

    counter: ClassVar[str] = "malformed"
    """What counts them."""


class Fragment(Unseen):
    """The connection tracker puts fragments together before they get here."""

    counter: ClassVar[str] = "fragments"


class TooManyHeaders(Unseen):
    """More IPv6 extension headers than are skipped here."""


def locate(packet: bytes, *, whole: bool = True) -> tuple[int, bytes]:
    """Where the TCP header starts, and the flow key: source | destination | source port | destination port.

    The key has 12 bytes with IPv4 and 36 with IPv6. Raises MalformedPacket when the length in the IP header is not the
    packet's, unless this is only the beginning of one. That of a packet of more than 64 KiB says 0, and behind an IPv6
    header can stand a jumbo payload option (RFC 2675).
    """
    if len(packet) < 40:
        raise MalformedPacket(f"{len(packet)} bytes are too few for TCP over IP")
    version = packet[0] >> 4
    if version == 4:
        offset = (packet[0] & 0x0F) * 4
        length, fragment, protocol = _IPV4.unpack_from(packet)
        if fragment & _FRAGMENT:
            raise Fragment
        addresses = packet[12:20]
    elif version == 6:
        length, protocol = _IPV6.unpack_from(packet)
        length += 40
        offset, protocol = skip_extension_headers(packet, 40, protocol)
        addresses = packet[8:40]
    else:
        raise MalformedPacket(f"IP version {version}")
    if whole and length != len(packet):
        raise MalformedPacket(f"IP length {length}, {len(packet)} bytes there")
    if protocol != _TCP or offset < 20 or offset + 20 > len(packet):
        raise MalformedPacket("no TCP header")
    return offset, addresses + packet[offset : offset + 4]


def lengths(packets: bytes) -> list[int]:
    """The lengths of IP packets that stand one after the other, each as its header says."""
    found = []
    position, end = 0, len(packets)
    while position < end:
        if packets[position] >> 4 == 4:
            length = packets[position + 2] << 8 | packets[position + 3]
        else:
            length = (packets[position + 4] << 8 | packets[position + 5]) + 40
        if length < 20:
            raise MalformedPacket(f"IP length {length}")
        found.append(length)
        position += length
    return found


def adjacent_packets(packets: bytes) -> list[bytes]:
    """IP packets that stand one after the other."""
    found = []
    position = 0
    for length in lengths(packets):
        found.append(packets[position : position + length])
        position += length
    return found


def skip_extension_headers(packet: bytes, offset: int, protocol: int) -> tuple[int, int]:
    """Where the header behind IPv6's extension headers starts, and its protocol; they start at `offset`.

    Of these, all that leave the checksum's pseudo header alone and that kernels read on behind: options, a routing
    header whose last segment was reached, and a fragment header of a packet in one piece (RFC 8200, section 4).
    """
    for _ in range(_MAX_EXTENSION_HEADERS):
        if protocol in _OPTIONS or protocol == _ROUTING:
            if offset + 8 > len(packet):
                raise MalformedPacket("IPv6 extension headers")
            if protocol == _ROUTING and packet[offset + 3]:
                return offset, protocol
            protocol, offset = packet[offset], offset + (packet[offset + 1] + 1) * 8
        elif protocol == _FRAGMENT_HEADER:
            if offset + 8 > len(packet):
                raise MalformedPacket("IPv6 extension headers")
            if (packet[offset + 2] << 8 | packet[offset + 3]) & _FRAGMENT_OFFSET_AND_MORE:
                raise Fragment
            protocol, offset = packet[offset], offset + 8
        else:
            return offset, protocol
    raise TooManyHeaders("IPv6 extension headers")


def reverse_key(key: bytes) -> bytes:
    """The key of the same connection's packets in the other direction."""
    half = (len(key) - 4) // 2
    return key[half:-4] + key[:half] + key[-2:] + key[-4:-2]


class Segment:
    """A read-only view of a TCP segment; `offset` is where the TCP header starts in `packet`.

    Raises MalformedPacket when the data offset is less than five words or reaches past the end.
    """

    def __init__(self, packet: bytes, offset: int) -> None:
        self.packet = packet
        self.offset = offset
        self.source_port, self.destination_port = uint16(packet, offset), uint16(packet, offset + 2)
        self.sequence, self.acknowledgment = uint32(packet, offset + 4), uint32(packet, offset + 8)
        data_offset, self.flags, self.window = packet[offset + 12], packet[offset + 13], uint16(packet, offset + 14)
        self.urgent = uint16(packet, offset + 18)
        self._options: list[options.Option] | None = None
        self.payload_start = offset + (data_offset >> 4) * 4
        """Where in `packet` the payload is."""
        if not offset + 20 <= self.payload_start <= len(packet):
            raise MalformedPacket(f"TCP data offset {data_offset >> 4}")

    @property
    def addresses(self) -> bytes:
        """Source | destination."""
        return self.packet[12:20] if self.packet[0] >> 4 == 4 else self.packet[8:40]

    @property
    def option_area(self) -> bytes:
        """The option area, 0 to 40 bytes."""
        return self.packet[self.offset + 20 : self.payload_start]

    @property
    def options(self) -> list[options.Option]:
        """The options; an area that cannot be read counts as empty, as it does for the kernel."""
        if self._options is None:
            try:
                self._options = options.parse(self.option_area)
            except options.OptionError:
                self._options = []
        return self._options

    def option(self, kind: int) -> bytes | None:
        """The value of the first option of a kind."""
        return options.find(self.options, kind)

    @property
    def payload(self) -> bytes:
        """The bytes after the header."""
        return self.packet[self.payload_start :]

    @property
    def payload_length(self) -> int:
        """Bytes of payload."""
        return len(self.packet) - self.payload_start

    @property
    def end(self) -> int:
        """The sequence number after the segment; SYN and FIN count (RFC 9293, section 3.4)."""
        return sequence_numbers.add(
            self.sequence, self.payload_length + bool(self.flags & SYN) + bool(self.flags & FIN)
        )

    @property
    def reserved(self) -> int:
        """The four bits between data offset and flags."""
        return self.packet[self.offset + 12] & 0x0F

    @property
    def is_opening(self) -> bool:
        """The first segment of a connection: SYN alone."""
        return self.flags & (SYN | ACK | RST | FIN) == SYN

    def answers(self, syn: "Segment") -> bool:
        """Whether this is the SYN ACK for a SYN."""
        flags = self.flags & (SYN | ACK | RST)
        return flags == SYN | ACK and self.acknowledgment == sequence_numbers.add(syn.sequence, 1)

    @property
    def checksum_is_right(self) -> bool:
        """Whether the TCP checksum fits the packet."""
        return tcp_checksum(self.addresses, self.packet[self.offset :]) in (0, 0xFFFF)

    def edited(
        self,
        *,
        sequence: int | None = None,
        acknowledgment: int | None = None,
        flags: int | None = None,
        window: int | None = None,
        urgent: int | None = None,
        reserved: int | None = None,
        option_area: bytes | None = None,
        payload: bytes | None = None,
    ) -> bytes:
        """The packet with fields replaced; lengths and checksums follow. `reserved`: the four bits behind the offset.

        Raises MalformedPacket when the options take more than 40 bytes or no multiple of 4, or the packet more than
        65,535.
        """
        fields = (
            self.source_port,
            self.destination_port,
            self.sequence if sequence is None else sequence,
            self.acknowledgment if acknowledgment is None else acknowledgment,
            self.flags if flags is None else flags,
            self.window if window is None else window,
            self.urgent if urgent is None else urgent,
        )
        return _assemble(
            self.packet[: self.offset],
            self.addresses,
            fields,
            self.reserved if reserved is None else reserved,
            self.option_area if option_area is None else option_area,
            self.payload if payload is None else payload,
        )


def make(
    key: bytes,
    *,
    sequence: int,
    acknowledgment: int,
    flags: int,
    window: int,
    option_area: bytes = b"",
    payload: bytes = b"",
) -> bytes:
    """A new packet for the flow `key`, which names its source first."""
    addresses = key[:-4]
    if len(addresses) == 8:
        header = b"\x45\x00\x00\x00\x00\x00\x40\x00" + bytes((_HOP_LIMIT, _TCP, 0, 0)) + addresses
    else:
        header = b"\x60\x00\x00\x00\x00\x00" + bytes((_TCP, _HOP_LIMIT)) + addresses
    fields = (uint16(key, len(key) - 4), uint16(key, len(key) - 2), sequence, acknowledgment, flags, window, 0)
    return _assemble(header, addresses, fields, 0, option_area, payload)


def _assemble(
    ip_header: bytes,
    addresses: bytes,
    fields: tuple[int, int, int, int, int, int, int],
    reserved: int,
    option_area: bytes,
    payload: bytes,
) -> bytes:
    header_length = 20 + len(option_area)
    length = len(ip_header) + header_length + len(payload)
    if len(option_area) > options.MAX_LENGTH or len(option_area) % 4 or length > 0xFFFF:
        raise MalformedPacket(f"{len(option_area)} bytes of options in a packet of {length}")
    source_port, destination_port, sequence, acknowledgment, flags, window, urgent = fields
    data_offset = header_length << 2 | reserved
    start = TCP_HEADER.pack(
        source_port, destination_port, sequence, acknowledgment, data_offset, flags, window, 0, urgent
    )
    segment = b"".join((start, option_area, payload))
    checksum = tcp_checksum(addresses, segment).to_bytes(2, "big")
    return b"".join((with_length(ip_header, length), segment[:16], checksum, segment[18:]))


def unfragmented(segment: Segment) -> Segment:
    """A segment whose packet no router may cut, as this host's kernel lets them where it does not look for path MTUs.

    To be edited before it is sent: its IP header's checksum does not follow.
    """
    packet = segment.packet
    if packet[0] >> 4 != 4 or packet[6] & _DONT_FRAGMENT:
        return segment
    return Segment(packet[:6] + bytes((packet[6] | _DONT_FRAGMENT,)) + packet[7:], segment.offset)


def with_length(ip_header: bytes, length: int, index: int = 0) -> bytes:
    """The IP header for a packet of `length` bytes, of the packet that comes `index` packets later."""
    if ip_header[0] >> 4 == 4:
        identification = (uint16(ip_header, 4) + index & 0xFFFF).to_bytes(2, "big")
        start = b"".join((ip_header[:2], length.to_bytes(2, "big"), identification, ip_header[6:10]))
        end = ip_header[12:]
        checksum = (ones_complement_sum(start) + ones_complement_sum(end)) % 65535 ^ 0xFFFF
        return b"".join((start, checksum.to_bytes(2, "big"), end))
    return b"".join((ip_header[:4], (length - 40).to_bytes(2, "big"), ip_header[6:]))


def timestamps(option_list: list[options.Option]) -> tuple[int, int] | None:
    """TSval and TSecr of a segment's options (RFC 7323, section 3.2)."""
    value = options.find(option_list, options.TIMESTAMP)
    if value is None or len(value) != 8:
        return None
    sent, echoed = struct.unpack(">II", value)
    return sent, echoed
