import errno
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.netio.kernel import netlink, nfqueue
from tcpcryptd.netio.kernel.conntrack import Flow, _parse_flow

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="expected bytes are written for little-endian hosts")


def test_configuration_of_a_queue() -> None:
    expected = (
        "28000000 0203 0500 01000000 00000000"  # length 40, type 0x302, REQUEST|ACK, sequence, port
        "00 00 0045"  # family, version, queue 69
        "0900 0200 0000fffb 02 000000"  # PARAMS: range 65531, copy packet, padding
        "0800 0300 00001000"  # QUEUE_MAXLEN 4096
    )
    assert nfqueue.configuration(69, 1, 4096, gso=False).hex() == expected.replace(" ", "")


def test_configuration_with_gso() -> None:
    plain = nfqueue.configuration(69, 1, 4096, gso=False)
    gso = nfqueue.configuration(69, 1, 4096, gso=True)
    assert gso[16 : len(plain)] == plain[16:]
    assert gso[len(plain) :].hex() == "08000400000000040800050000000004"


def test_configuration_with_what_tracking_knows() -> None:
    plain = nfqueue.configuration(69, 1, 4096, gso=False)
    both = nfqueue.configuration(69, 1, 4096, gso=True, tracked=True)
    assert both[len(plain) :].hex() == "08000400000000060800050000000006"


def error(number: int, sequence: int) -> bytes:
    return struct.pack("<IHHIIi", 20, 2, 0, sequence, 0, -number)


def test_acknowledgment() -> None:
    assert nfqueue.is_acknowledgment(error(0, 7), 7)
    assert not nfqueue.is_acknowledgment(error(0, 8), 7)
    assert not nfqueue.is_acknowledgment(error(errno.EPERM, 8), 7)
    assert not nfqueue.is_acknowledgment(b"", 7)
    packet = netlink.message(0x300, 0, 7, b"data")
    assert not nfqueue.is_acknowledgment(packet, 7)
    with pytest.raises(OSError, match="not permitted") as raised:
        nfqueue.is_acknowledgment(error(errno.EPERM, 7), 7)
    assert raised.value.errno == errno.EPERM


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40)))
def test_attributes_round_trip(values: dict[int, bytes]) -> None:
    data = b"".join(netlink.attribute(kind, value) for kind, value in values.items())
    assert netlink.attributes(data) == values


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=30))))
def test_messages_round_trip(listed: list[tuple[int, int, bytes]]) -> None:
    padded = (
        each + bytes(-len(each) % 4)
        for each in (netlink.message(kind, 0, number, body) for kind, number, body in listed)
    )
    assert list(netlink.messages(b"".join(padded))) == listed


@given(st.binary(max_size=200))
def test_nonsense_is_left_out(data: bytes) -> None:
    assert sum(len(value) for value in netlink.attributes(data).values()) <= len(data)
    assert sum(len(body) for _, _, body in netlink.messages(data)) <= len(data)
    assert _parse_flow(data) is None or len(data) > 20


def flow_attributes(protocol: int) -> bytes:
    addresses = netlink.attribute(1, bytes((10, 0, 0, 1))) + netlink.attribute(2, bytes((10, 0, 0, 2)))
    ports = netlink.attribute(2, b"\x80\x00") + netlink.attribute(3, b"\x00\x50")
    proto = netlink.attribute(1, bytes((protocol,))) + ports
    return netlink.attribute(0x8001, addresses) + netlink.attribute(0x8002, proto)


def test_flow_of_connection_tracking() -> None:
    assert _parse_flow(flow_attributes(6)) == Flow(bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), b"\x80\x00", b"\x00\x50")
    assert _parse_flow(flow_attributes(17)) is None


def packet_message(*attributes: tuple[int, bytes], kind: int = 0x300) -> bytes:
    return netlink.message(kind, 0, 0, bytes(4) + b"".join(netlink.attribute(*each) for each in attributes))


HEADER = (1, bytes.fromhex("01020304 0800 03"))
PAYLOAD = (10, b"packet")


def parsed(message: bytes) -> tuple[int, int, int, bytes] | None:
    buffer = memoryview(bytearray(message + b"left over from an earlier message"))
    packet = nfqueue.diverted_packet(buffer, len(message))
    return None if packet is None else (packet.identifier, packet.hook, packet.mark, packet.payload)


def test_diverted_packet() -> None:
    assert parsed(packet_message(HEADER, (3, b"\x80\0\0\x05"), (9, bytes(12)), PAYLOAD)) == (
        0x04030201,
        3,
        0x80000005,
        b"packet",
    )
    assert parsed(packet_message(HEADER, (9, b"odd"), PAYLOAD)) == (0x04030201, 3, 0, b"packet")
    assert parsed(packet_message(HEADER)) == (0x04030201, 3, 0, b"")


def test_what_tracking_knows_of_a_packet() -> None:
    for message, expected in (
        (packet_message(HEADER, (0x800B, b"tracked"), (12, bytes(4)), PAYLOAD), b"tracked"),
        (packet_message(HEADER, (0x800B, b"tracked"), (10, bytes(60_000))), b"tracked"),
        (packet_message(HEADER, PAYLOAD), b""),
    ):
        packet = nfqueue.diverted_packet(memoryview(message), len(message))
        assert packet is not None
        assert packet.tracked() == expected


@given(st.binary(max_size=60), st.integers(0, 9))
def test_an_attribute_of_nonsense(data: bytes, kind: int) -> None:
    begin, end = nfqueue.find_attribute(data, 0, len(data), kind)
    assert 0 <= begin <= end <= len(data)
    assert (begin == end) or kind in netlink.attributes(data)


def test_messages_that_are_no_packets() -> None:
    assert parsed(error(errno.ENOENT, 0)) is None
    assert parsed(packet_message(HEADER, PAYLOAD, kind=0x302)) is None
    assert parsed(packet_message(PAYLOAD)) is None
    assert parsed(packet_message((1, b"short"), PAYLOAD)) is None
    cut = packet_message(HEADER, (10, bytes(8)))[:-1]
    assert parsed(cut) == (0x04030201, 3, 0, b"")
    assert parsed(b"") is None


@given(st.binary(max_size=100), st.booleans())
def test_a_message_of_nonsense(data: bytes, is_packet: bool) -> None:
    message = packet_message()[:20] + data if is_packet else data
    if is_packet:
        message = len(message).to_bytes(4, "little") + message[4:]
    parsed(message)
