"""ICMP errors of routers whose links are too narrow (RFC 1191, RFC 4443), made and read without the package's code."""

from typing import NamedTuple

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.packet import Raw

_QUOTED = 520
"""Bytes: routers quote more than they must (RFC 1812, section 4.3.2.3)."""


class TooBig(NamedTuple):
    key: bytes
    """Of the quoted segment."""
    sequence: int
    mtu: int


def too_big_error(packet: bytes, mtu: int) -> bytes:
    """What a router answers for a packet."""
    if packet[0] >> 4 == 4:
        header = IP(src="192.0.2.1", dst=IP(packet).src)
        return bytes(header / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(packet[:_QUOTED]))
    return bytes(IPv6(src="2001:db8::1", dst=IPv6(packet).src) / ICMPv6PacketTooBig(mtu=mtu) / Raw(packet[:_QUOTED]))


def read_too_big(packet: bytes) -> TooBig | None:
    """None: it is no such error. Checksums are not looked at."""
    if packet[0] >> 4 == 4 and packet[9] == 1 and packet[20:22] == b"\x03\x04":
        quoted, mtu = packet[28:], int.from_bytes(packet[26:28], "big")
        start, addresses = (quoted[0] & 15) * 4, quoted[12:20]
    elif packet[0] >> 4 == 6 and packet[6] == 58 and packet[40:42] == b"\x02\0":
        quoted, mtu = packet[48:], int.from_bytes(packet[44:48], "big")
        start, addresses = 40, quoted[8:40]
    else:
        return None
    return TooBig(addresses + quoted[start : start + 4], int.from_bytes(quoted[start + 4 : start + 8], "big"), mtu)
