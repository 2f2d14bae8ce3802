"""Checksums, with scapy as the oracle."""

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.utils import checksum as scapy_checksum

from tcpcryptd.wire.checksum import ones_complement_sum, tcp_checksum
from tcpcryptd.wire.segment import Segment, locate

# On both sides of the border between the two ways of adding, odd and even, long enough for every remainder of 4.
DATA = st.binary(max_size=80) | st.builds(
    lambda size, byte: (byte * size)[:size], st.integers(1000, 5000), st.binary(min_size=1, max_size=7)
)


@given(DATA)
def test_sum(data: bytes) -> None:
    theirs = scapy_checksum(data) ^ 0xFFFF
    assert ones_complement_sum(data) % 65535 == theirs % 65535
    assert ones_complement_sum(bytearray(data)) == ones_complement_sum(data)


@given(DATA.filter(lambda data: len(data) % 2 == 0), DATA)
def test_the_sum_of_parts(first: bytes, second: bytes) -> None:
    assert (ones_complement_sum(first) + ones_complement_sum(second)) % 65535 == ones_complement_sum(first + second)


def test_64_kilobytes_of_ones_do_not_overflow() -> None:
    assert ones_complement_sum(b"\xff" * 65536) == 0


@given(DATA, st.booleans(), st.integers(0, 0xFFFFFFFF))
def test_tcp(payload: bytes, version_6: bool, sequence: int) -> None:
    header = IPv6(src="fd00::1", dst="fd00::2") if version_6 else IP(src="10.0.0.1", dst="192.168.255.254")
    packet = bytes(header / TCP(sport=1, dport=2, seq=sequence) / payload)
    offset, _ = locate(packet)
    segment = Segment(packet, offset)
    assert segment.checksum_is_right
    zeroed = bytearray(packet[offset:])
    zeroed[16:18] = b"\0\0"
    assert tcp_checksum(segment.addresses, zeroed) % 65535 == int.from_bytes(packet[offset + 16 : offset + 18]) % 65535


@given(st.binary(min_size=1, max_size=60), st.integers(0, 10_000))
def test_every_flipped_bit_is_seen(payload: bytes, bit: int) -> None:
    packet = bytearray(bytes(IP(src="10.0.0.1", dst="10.0.0.2") / TCP() / payload))
    bit = 20 * 8 + bit % (len(packet[20:]) * 8)
    packet[bit // 8] ^= 1 << bit % 8
    data_offset = packet[32] >> 4
    if data_offset >= 5 and data_offset * 4 <= len(packet) - 20:
        assert not Segment(bytes(packet), 20).checksum_is_right
