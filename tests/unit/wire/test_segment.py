"""The view of a segment, edits and new packets; scapy is the oracle."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, in4_chksum
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrRouting, in6_chksum
from scapy.utils import checksum

from tcpcryptd.wire.segment import (
    ACK,
    FIN,
    SYN,
    Fragment,
    MalformedPacket,
    Segment,
    TooManyHeaders,
    lengths,
    locate,
    make,
    reverse_key,
    timestamps,
    with_length,
)

KEYS = st.binary(min_size=12, max_size=12) | st.binary(min_size=36, max_size=36)
UINT32 = st.integers(0, 2**32 - 1)
UINT16 = st.integers(0, 2**16 - 1)
UINT8 = st.integers(0, 255)
AREAS = st.binary(max_size=40).map(lambda area: area[: len(area) // 4 * 4])
PAYLOADS = st.binary(max_size=100)


def view(packet: bytes) -> Segment:
    return Segment(packet, locate(packet)[0])


def reparsed(packet: bytes) -> tuple[int, ...]:
    """What scapy reads; the checksums are what it computes."""
    layer: IP | IPv6
    if packet[0] >> 4 == 4:
        layer, length = IP(packet), packet[0] % 16 * 4
        assert checksum(packet[:length]) == 0
        assert layer.len == len(packet)
        expected = in4_chksum(6, layer, _without_checksum(packet[length:]))
    else:
        layer, length = IPv6(packet), 40
        assert layer.plen == len(packet) - 40
        expected = in6_chksum(6, layer, _without_checksum(packet[length:]))  # type: ignore[no-untyped-call]
    tcp = layer[TCP]
    assert tcp.chksum % 65535 == expected % 65535
    return tcp.sport, tcp.dport, tcp.seq, tcp.ack, int(tcp.flags) & 0xFF, tcp.window, tcp.urgptr


def _without_checksum(segment: bytes) -> bytes:
    return segment[:16] + b"\0\0" + segment[18:]


@given(KEYS, UINT32, UINT32, UINT8, UINT16, AREAS, PAYLOADS)
def test_make(key: bytes, seq: int, ack: int, flags: int, window: int, area: bytes, payload: bytes) -> None:
    packet = make(key, sequence=seq, acknowledgment=ack, flags=flags, window=window, option_area=area, payload=payload)
    offset, found = locate(packet)
    assert found == key
    segment = Segment(packet, offset)
    assert (segment.sequence, segment.acknowledgment, segment.flags, segment.window) == (seq, ack, flags, window)
    assert (segment.option_area, segment.payload, segment.payload_length) == (area, payload, len(payload))
    assert segment.addresses == key[:-4]
    assert segment.checksum_is_right
    assert segment.end == (seq + len(payload) + bool(flags & SYN) + bool(flags & FIN)) % 2**32


@given(KEYS, UINT32, PAYLOADS, st.tuples(UINT32, UINT32, UINT8, UINT16, UINT16), AREAS, PAYLOADS)
def test_edit(
    key: bytes, sequence: int, old: bytes, fields: tuple[int, int, int, int, int], area: bytes, payload: bytes
) -> None:
    segment = view(make(key, sequence=sequence, acknowledgment=1, flags=2, window=3, payload=old))
    edited = segment.edited(
        sequence=fields[0],
        acknowledgment=fields[1],
        flags=fields[2],
        window=fields[3],
        urgent=fields[4],
        option_area=area,
        payload=payload,
    )
    assert reparsed(edited) == (segment.source_port, segment.destination_port, *fields)
    assert view(edited).payload == payload
    back = view(edited).edited(
        sequence=sequence, acknowledgment=1, flags=2, window=3, urgent=0, option_area=b"", payload=old
    )
    assert back == segment.packet
    assert segment.edited() == segment.packet


@given(KEYS, st.integers(0, 15), UINT8, AREAS, PAYLOADS)
def test_reserved_bits_stay(key: bytes, reserved: int, flags: int, area: bytes, payload: bytes) -> None:
    """The lowest one is AccECN's (RFC 9768)."""
    packet = bytearray(make(key, sequence=1, acknowledgment=2, flags=16, window=3))
    packet[locate(bytes(packet))[0] + 12] |= reserved
    edited = view(bytes(packet)).edited(flags=flags, option_area=area, payload=payload)
    assert (view(edited).reserved, view(edited).option_area, view(edited).payload) == (reserved, area, payload)
    assert view(edited).checksum_is_right
    assert view(view(edited).edited(reserved=0)).reserved == 0


@given(st.binary(max_size=120))
def test_any_bytes_are_located_or_raise_the_typed_error(packet: bytes) -> None:
    try:
        segment = view(packet)
    except MalformedPacket:
        return
    assert segment.payload_length >= 0


@given(KEYS, AREAS, PAYLOADS, st.data())
def test_changed_packets_raise_nothing_else(key: bytes, area: bytes, payload: bytes, data: st.DataObject) -> None:
    packet = bytearray(make(key, sequence=1, acknowledgment=2, flags=16, window=3, option_area=area, payload=payload))
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, min(len(packet), 80) - 1))] = data.draw(UINT8)
    try:
        segment = view(bytes(packet))
    except MalformedPacket:
        return
    assert isinstance(segment.options, list)
    assert isinstance(segment.checksum_is_right, bool)


@given(KEYS, AREAS, PAYLOADS)
def test_every_truncation_is_malformed(key: bytes, area: bytes, payload: bytes) -> None:
    packet = make(key, sequence=1, acknowledgment=2, flags=16, window=3, option_area=area, payload=payload)
    for length in range(len(packet)):
        with pytest.raises(MalformedPacket):
            locate(packet[:length])


@given(KEYS)
def test_reverse_key(key: bytes) -> None:
    assert reverse_key(reverse_key(key)) == key
    half = (len(key) - 4) // 2
    assert reverse_key(key)[:half] == key[half:-4]
    assert reverse_key(key)[-4:] == key[-2:] + key[-4:-2]


@pytest.mark.parametrize("fields", [b"\x20\x00", b"\x00\x05"], ids=["first", "later"])
def test_ipv4_fragments(fields: bytes) -> None:
    packet = bytes(IP() / TCP() / b"x")
    with pytest.raises(Fragment):
        locate(packet[:6] + fields + packet[8:])


def test_ipv6_extension_headers() -> None:
    plain = bytes(IPv6() / IPv6ExtHdrDestOpt() / TCP(sport=5) / b"x")
    offset, key = locate(plain)
    assert (offset, key[-4:-2]) == (48, b"\0\5")
    # What the kernel reads on behind: in one piece, and with the last segment of the route reached.
    for header in (IPv6ExtHdrFragment(res1=7), IPv6ExtHdrRouting()):
        assert locate(bytes(IPv6() / header / TCP(sport=5)))[0] == 48
    with pytest.raises(MalformedPacket, match="no TCP"):
        locate(bytes(IPv6() / IPv6ExtHdrRouting(addresses=["::1"], segleft=1) / TCP()))
    for fragment in (IPv6ExtHdrFragment(offset=1), IPv6ExtHdrFragment(m=1)):
        with pytest.raises(Fragment):
            locate(bytes(IPv6() / fragment / TCP()))


def test_more_ipv6_extension_headers_than_are_read() -> None:
    """A kernel reads on."""
    packet = IPv6()
    for _ in range(9):
        packet /= IPv6ExtHdrDestOpt()
    with pytest.raises(TooManyHeaders):
        locate(bytes(packet / TCP()))


def test_ip_options_stay() -> None:
    packet = bytes(IP(options=b"\x94\x04\x00\x00") / TCP(sport=7) / b"abc")
    edited = view(packet).edited(payload=b"abcdef")
    assert edited[20:24] == b"\x94\x04\x00\x00"
    assert reparsed(edited)[0] == 7


@pytest.mark.parametrize("packet", [bytes(IP(proto=17) / (b"x" * 40)), bytes(IPv6(nh=17) / (b"x" * 40)), b"\x50" * 60])
def test_what_is_not_tcp(packet: bytes) -> None:
    with pytest.raises(MalformedPacket):
        locate(packet)


@pytest.mark.parametrize("area", [bytes(44), bytes(3)])
def test_options_that_do_not_fit(area: bytes) -> None:
    with pytest.raises(MalformedPacket):
        make(bytes(12), sequence=0, acknowledgment=0, flags=0, window=0, option_area=area)


def test_a_packet_that_is_too_long() -> None:
    with pytest.raises(MalformedPacket):
        make(bytes(12), sequence=0, acknowledgment=0, flags=0, window=0, payload=bytes(65_536 - 40))


def test_timestamps() -> None:
    assert timestamps([(8, b"\0\0\0\1\0\0\0\2")]) == (1, 2)
    assert timestamps([(8, b"\0\0\0\1")]) is None
    assert timestamps([]) is None


def test_lengths_of_adjacent_packets() -> None:
    four = bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81))
    six = bytes(range(32)) + bytes((0, 80, 0, 81))
    packets = [
        make(key, sequence=1, acknowledgment=2, flags=ACK, window=3, payload=bytes(size))
        for key, size in ((four, 0), (six, 7), (four, 60_000), (six, 1))
    ]
    assert lengths(b"".join(packets)) == [len(packet) for packet in packets]
    assert lengths(b"") == []


def test_a_length_that_leads_nowhere() -> None:
    with pytest.raises(MalformedPacket):
        lengths(b"\x45" + bytes(19))


@given(UINT16, UINT8, st.integers(40, 65535), st.integers(0, 100))
def test_the_ip_header_of_a_later_packet(identification: int, ttl: int, length: int, index: int) -> None:
    fields: dict[str, Any] = {"src": "10.1.2.3", "dst": "10.4.5.6", "ttl": ttl, "proto": 6}
    header = bytes(IP(id=identification, len=40, **fields))
    assert with_length(header, length, index) == bytes(IP(id=(identification + index) % 65536, len=length, **fields))
    header = bytes(IPv6(hlim=ttl, nh=6, plen=20, fl=identification))
    assert with_length(header, length, index) == bytes(IPv6(hlim=ttl, nh=6, plen=length - 40, fl=identification))
