"""ICMP errors, against scapy's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt
from scapy.packet import Packet, Raw

from tcpcryptd.wire.icmp import IcmpError, is_icmp, packet_too_big
from tcpcryptd.wire.segment import MalformedPacket, locate

PLAINTEXT = b"what the application sent"
V4, V6 = IP(src="198.51.100.1", dst="10.0.0.1"), IPv6(src="2001:db8::1", dst="fd00::1")
TCP_V4 = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1, dport=2, seq=3_000_000_000, ack=7) / Raw(PLAINTEXT)
TCP_V6 = IPv6(src="fd00::1", dst="fd00::2") / TCP(sport=1, dport=2, seq=3_000_000_000, ack=7) / Raw(PLAINTEXT)
WITH_EXTENSION = IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrDestOpt() / TCP(sport=1, dport=2, seq=3_000_000_000)

ERRORS = {
    "fragmentation needed": V4 / ICMP(type=3, code=4, nexthopmtu=1400) / TCP_V4,
    "port unreachable": V4 / ICMP(type=3, code=3) / TCP_V4,
    "time exceeded, with extensions": V4 / ICMP(type=11, code=0, length=32) / TCP_V4 / Raw(bytes(100)),
    "too big": V6 / ICMPv6PacketTooBig(mtu=1400) / TCP_V6,
    "unreachable": V6 / ICMPv6DestUnreach(code=1) / TCP_V6,
    "hop limit": V6 / ICMPv6TimeExceeded() / TCP_V6,
    "behind an extension header": V6 / ICMPv6PacketTooBig(mtu=1400) / WITH_EXTENSION,
}
EACH = pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())


@EACH
def test_what_is_quoted(error: Packet) -> None:
    packet = bytes(error)
    read = IcmpError(packet)
    assert is_icmp(packet)
    assert read.checksum_is_right
    assert read.sequence == 3_000_000_000
    assert read.key[-4:] == b"\0\1\0\2"
    assert read.mtu == (1400 if ICMPv6PacketTooBig in error or (ICMP in error and error[ICMP].code == 4) else None)


@EACH
def test_an_edited_error_has_the_new_numbers_and_no_payload(error: Packet) -> None:
    packet = bytes(error)
    edited = IcmpError(packet).edited(5, 1380)
    read = IcmpError(edited)
    assert read.checksum_is_right
    assert read.sequence == 5
    assert read.key == IcmpError(packet).key
    assert read.mtu in (None, 1380)
    assert PLAINTEXT not in edited
    again = type(error)(edited)
    assert (again.src, again.dst) == (error.src, error.dst)
    kind = again.payload
    assert (kind.type, kind.code) == (error.payload.type, error.payload.code)
    assert not getattr(kind, "length", 0)


def test_an_mtu_that_no_kernel_believes() -> None:
    assert IcmpError(bytes(V4 / ICMP(type=3, code=4, nexthopmtu=0) / TCP_V4)).mtu == 552
    assert IcmpError(bytes(V6 / ICMPv6PacketTooBig(mtu=68) / TCP_V6)).mtu == 1280


@pytest.mark.parametrize("segment", [TCP_V4, TCP_V6, WITH_EXTENSION], ids=["v4", "v6", "extension"])
def test_an_error_of_our_own(segment: Packet) -> None:
    packet = bytes(segment)
    error = IcmpError(packet_too_big(packet, locate(packet)[0], 1380))
    assert error.checksum_is_right
    assert (error.mtu, error.sequence, error.key) == (1380, 3_000_000_000, locate(packet)[1])


@pytest.mark.parametrize(
    "packet",
    [
        V4 / ICMP(type=8) / Raw(bytes(40)),
        V4 / ICMP(type=3, code=3) / IP(proto=17) / Raw(bytes(40)),
        V4 / ICMP(type=3, code=3) / IP(frag=9, proto=6) / Raw(bytes(40)),
        V4 / ICMP(type=3, code=3) / IPv6(nh=6) / Raw(bytes(40)),
        V6 / ICMPv6DestUnreach() / IPv6(nh=17) / Raw(bytes(40)),
        IP(proto=1, frag=1) / Raw(bytes(60)),
    ],
    ids=["echo", "UDP", "later fragment", "IPv6 in ICMP", "UDP over IPv6", "fragment"],
)
def test_what_is_no_error_about_tcp(packet: Packet) -> None:
    with pytest.raises(MalformedPacket):
        IcmpError(bytes(packet))


@EACH
def test_cut_anywhere(error: Packet) -> None:
    packet = bytes(error)
    for length in range(len(packet)):
        with pytest.raises(MalformedPacket):
            IcmpError(packet[:length])


@given(st.sampled_from(sorted(ERRORS)), st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4))
def test_damaged_anywhere(name: str, damage: list[tuple[int, int]]) -> None:
    packet = bytearray(bytes(ERRORS[name]))
    for position, value in damage:
        packet[position % len(packet)] = value
    try:
        error = IcmpError(bytes(packet))
    except MalformedPacket:
        return
    assert len(error.edited(1, 1280)) <= len(packet)
