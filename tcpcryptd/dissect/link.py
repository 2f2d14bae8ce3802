"""From a frame of the link layer to the IP packet that it carries."""

from collections.abc import Callable
from typing import Final

from scapy.config import conf
from scapy.layers.inet6 import IPv6  # noqa: F401  (which has scapy know the link types of IP as well)
from scapy.packet import Packet, Raw

NOT_TCP: Final = -1
UNUSUAL: Final = -2
"""Scapy has to look: a tunnel, extension headers, fragments, a link layer that few captures have."""

_IPV4, _IPV6, _ARP = b"\x08\x00", b"\x86\xdd", b"\x08\x06"
_VLANS = (b"\x81\x00", b"\x88\xa8")
_TCP = 6
_OTHERS = frozenset((1, 2, 58, 132))
"""ICMP, IGMP, ICMPv6 and SCTP: what they carry or quote is none of their hosts' TCP."""
_UDP = 17
_GRE_IN_UDP = (4754).to_bytes(2, "big")
_FRAGMENT = 0x3FFF
_HEADER = {4: 20, 6: 40}
"""Bytes of an IP header without options."""


def find_tcp(link_type: int, frame: bytes) -> int:
    """Where in a frame the IP header of a TCP segment starts, else NOT_TCP or UNUSUAL."""
    find = _STARTS.get(link_type)
    start = UNUSUAL if find is None else find(frame)
    if start < 0:
        return start
    version = frame[start] >> 4 if len(frame) > start else 0
    if len(frame) - start < _HEADER.get(version, len(frame) + 1):
        return UNUSUAL
    if version == 4:
        protocol, behind = frame[start + 9], start + (frame[start] & 0x0F) * 4
        if int.from_bytes(frame[start + 6 : start + 8], "big") & _FRAGMENT:
            return UNUSUAL
    else:
        protocol, behind = frame[start + 6], start + 40
    if protocol == _TCP:
        return start
    if protocol == _UDP:
        return UNUSUAL if frame[behind + 2 : behind + 4] == _GRE_IN_UDP else NOT_TCP
    return NOT_TCP if protocol in _OTHERS else UNUSUAL


def scapy_packet(link_type: int, frame: bytes) -> Packet:
    """The frame as scapy reads it; raw bytes when it does not know the link type or cannot read it."""
    layer = conf.l2types.num2layer.get(link_type, Raw)
    try:
        return layer(frame)
    except Exception:
        # Its layers raise whatever they run into, and its own reader does the same.
        return Raw(frame)


def _ethernet(frame: bytes) -> int:
    at = 12
    while frame[at : at + 2] in _VLANS:
        at += 4
    return _behind(frame, at, at + 2)


def _behind(frame: bytes, type_at: int, start: int) -> int:
    ether_type = frame[type_at : type_at + 2]
    if ether_type in (_IPV4, _IPV6):
        return start
    return NOT_TCP if ether_type == _ARP else UNUSUAL


_STARTS: dict[int, Callable[[bytes], int]] = {
    1: _ethernet,
    101: lambda _: 0,
    113: lambda frame: _behind(frame, 14, 16),
    228: lambda _: 0,
    229: lambda _: 0,
    276: lambda frame: _behind(frame, 0, 20),
}
"""By LINKTYPE_ number: Ethernet, IP without a link layer, and what `tcpdump -i any` writes (SLL and SLL2)."""
