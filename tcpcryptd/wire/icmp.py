"""ICMP errors about TCP segments (RFC 792, RFC 4443): what they quote, and the same error for other numbers."""

from typing import Final

from tcpcryptd.wire.checksum import ones_complement_sum
from tcpcryptd.wire.segment import MalformedPacket, skip_extension_headers, with_length
from tcpcryptd.wire.words import uint16, uint32

ICMP: Final = 1
ICMPV6: Final = 58
_TCP: Final = 6

_DESTINATION_UNREACHABLE: Final = 3
_FRAGMENTATION_NEEDED: Final = 4
"""Code; the MTU is in the last two bytes of the header (RFC 1191, section 4)."""
_ERRORS: Final = frozenset((_DESTINATION_UNREACHABLE, 4, 5, 11, 12))
"""Those that connection tracking relates to a connection: also source quench, redirect, time exceeded, parameter."""
_PACKET_TOO_BIG: Final = 2
"""ICMPv6; the MTU is in the last four bytes of the header (RFC 4443, section 3.2)."""
_ERRORS_V6: Final = frozenset((1, _PACKET_TOO_BIG, 3, 4))

_HEADER: Final = 8
QUOTED: Final = 8
"""Bytes of the TCP header that every error quotes: ports and sequence number. More may be payload."""
LEAST_MTU: Final = {4: 552, 6: 1280}
"""By IP version, what a kernel believes at least (net.ipv4.route.min_pmtu; RFC 8200, section 5)."""
_FRAGMENT_OFFSET: Final = 0x1FFF
_HOP_LIMIT: Final = 64


def is_icmp(packet: bytes) -> bool:
    """Whether an IP packet says that it holds ICMP; extension headers are not looked behind."""
    return len(packet) >= 20 and (packet[9] == ICMP if packet[0] >> 4 == 4 else packet[6] == ICMPV6)


class IcmpError:
    """A view of an ICMP error in its IP packet.

    Raises MalformedPacket for what is no error, quotes no TCP header, or contradicts its lengths.
    """

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        version = packet[0] >> 4 if len(packet) >= 20 else 0
        if version == 4:
            start, protocol, length = (packet[0] & 0x0F) * 4, packet[9], uint16(packet, 2)
            if uint16(packet, 6) & 0x3FFF:
                raise MalformedPacket("a fragment")
        elif version == 6 and len(packet) >= 40:
            length = uint16(packet, 4) + 40
            start, protocol = skip_extension_headers(packet, 40, packet[6])
        else:
            raise MalformedPacket("no IP header")
        quote = start + _HEADER
        if length != len(packet) or start < 20 or quote + 20 + QUOTED > length:
            raise MalformedPacket("the length of an ICMP error")
        kind, code = packet[start], packet[start + 1]
        errors = _ERRORS if protocol == ICMP and version == 4 else _ERRORS_V6 if protocol == ICMPV6 else ()
        if kind not in errors:
            raise MalformedPacket("no ICMP error")
        self._start = start
        self._quote = quote
        self._is_v6 = version == 6
        self.mtu: int | None = None
        """Bytes of IP packet that a link takes, when the quoted one was larger; at least LEAST_MTU."""
        if self._is_v6 and kind == _PACKET_TOO_BIG:
            self.mtu = max(uint32(packet, start + 4), LEAST_MTU[6])
        elif not self._is_v6 and (kind, code) == (_DESTINATION_UNREACHABLE, _FRAGMENTATION_NEEDED):
            self.mtu = max(uint16(packet, start + 6), LEAST_MTU[4])
        self._tcp, addresses = self._locate_quoted()
        self.key = addresses + packet[self._tcp : self._tcp + 4]
        """The flow key of the quoted segment."""
        self.sequence = uint32(packet, self._tcp + 4)
        """Of the quoted segment."""

    def _locate_quoted(self) -> tuple[int, bytes]:
        packet, quote = self._packet, self._quote
        version = packet[quote] >> 4
        if version == 4 and not self._is_v6:
            offset, protocol = quote + (packet[quote] & 0x0F) * 4, packet[quote + 9]
            addresses = packet[quote + 12 : quote + 20]
            if uint16(packet, quote + 6) & _FRAGMENT_OFFSET or offset < quote + 20:
                raise MalformedPacket("a later fragment is quoted")
        elif version == 6 and self._is_v6 and quote + 40 <= len(packet):
            offset, protocol = skip_extension_headers(packet, quote + 40, packet[quote + 6])
            addresses = packet[quote + 8 : quote + 40]
        else:
            raise MalformedPacket("the quoted IP header")
        if protocol != _TCP or offset + QUOTED > len(packet):
            raise MalformedPacket("no TCP header is quoted")
        return offset, addresses

    @property
    def is_own(self) -> bool:
        """Whether it comes from where the quoted segment does: a kernel's error about a packet of its own."""
        packet = self._packet
        return packet[8:24] == packet[24:40] if self._is_v6 else packet[12:16] == packet[16:20]

    @property
    def checksum_is_right(self) -> bool:
        """Whether the ICMP checksum fits the packet."""
        return _sum(self._packet, self._packet[self._start :], self._is_v6) in (0, 0xFFFF)

    def edited(self, sequence: int, mtu: int | None) -> bytes:
        """The packet with another quoted number and, where there is one, MTU.

        Of the quoted segment nothing is left behind its sequence number: it may be payload.
        """
        packet, start, tcp = self._packet, self._start, self._tcp
        rest = bytearray(packet[start + 4 : start + _HEADER])
        if not self._is_v6 and packet[start] in (_DESTINATION_UNREACHABLE, 11, 12):
            # The length of the quote, with extensions behind it (RFC 4884, section 4).
            rest[1] = 0
        elif self._is_v6 and packet[start] in (1, 3):
            rest[0] = 0
        if self.mtu is not None and mtu is not None:
            rest = bytearray(mtu.to_bytes(4, "big")) if self._is_v6 else rest[:2] + min(mtu, 0xFFFF).to_bytes(2, "big")
        body = b"".join((rest, packet[self._quote : tcp + 4], sequence.to_bytes(4, "big")))
        return _assemble(packet[:start], packet[start : start + 2], body, self._is_v6)


def packet_too_big(packet: bytes, offset: int, mtu: int) -> bytes:
    """The answer of a router to a TCP segment that does not fit a link of `mtu` bytes; `offset`: of its TCP header.

    The destination is named as the router.
    """
    quote = packet[: offset + QUOTED]
    if packet[0] >> 4 == 4:
        header = b"\x45\x00\x00\x00\x00\x00\x40\x00" + bytes((_HOP_LIMIT, ICMP, 0, 0)) + packet[16:20] + packet[12:16]
        kind = bytes((_DESTINATION_UNREACHABLE, _FRAGMENTATION_NEEDED))
        return _assemble(header, kind, mtu.to_bytes(4, "big") + quote, False)
    header = b"\x60\x00\x00\x00\x00\x00" + bytes((ICMPV6, _HOP_LIMIT)) + packet[24:40] + packet[8:24]
    return _assemble(header, bytes((_PACKET_TOO_BIG, 0)), mtu.to_bytes(4, "big") + quote, True)


def _assemble(ip_header: bytes, kind: bytes, body: bytes, is_v6: bool) -> bytes:
    message = b"".join((kind, b"\0\0", body))
    checksum = _sum(ip_header, message, is_v6).to_bytes(2, "big")
    return b"".join((with_length(ip_header, len(ip_header) + len(message)), kind, checksum, body))


def _sum(ip_header: bytes, message: bytes, is_v6: bool) -> int:
    total = ones_complement_sum(message)
    if is_v6:
        # The pseudo header (RFC 8200, section 8.1).
        total += ones_complement_sum(ip_header[8:40]) + len(message) + ICMPV6
    return total % 65535 ^ 0xFFFF
