import errno
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.netio import netlink, netlink_queue
from tcpcryptd.netio.conntrack import Flow, _parse_flow
from tcpcryptd.netio.encrypted_sockets import _destroy_request

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="expected bytes are written for little-endian hosts")


def test_configuration_of_a_queue() -> None:
    expected = (
        "28000000 0203 0500 01000000 00000000"  # length 40, type 0x302, REQUEST|ACK, sequence, port
        "00 00 0045"  # family, version, queue 69
        "0900 0200 0000fffb 02 000000"  # PARAMS: range 65531, copy packet, padding
        "0800 0300 00001000"  # QUEUE_MAXLEN 4096
    )
    assert netlink_queue.configuration(69, 1, 4096, gso=False).hex() == expected.replace(" ", "")


def test_configuration_with_gso() -> None:
    plain = netlink_queue.configuration(69, 1, 4096, gso=False)
    gso = netlink_queue.configuration(69, 1, 4096, gso=True)
    assert gso[16 : len(plain)] == plain[16:]
    assert gso[len(plain) :].hex() == "08000400000000040800050000000004"


def error(number: int, sequence: int) -> bytes:
    return struct.pack("<IHHIIi", 20, 2, 0, sequence, 0, -number)


def test_acknowledgment() -> None:
    assert netlink_queue.is_acknowledgment(error(0, 7), 7)
    assert not netlink_queue.is_acknowledgment(error(0, 8), 7)
    assert not netlink_queue.is_acknowledgment(error(errno.EPERM, 8), 7)
    assert not netlink_queue.is_acknowledgment(b"", 7)
    packet = netlink.message(0x300, 0, 7, b"data")
    assert not netlink_queue.is_acknowledgment(packet, 7)
    with pytest.raises(OSError, match="not permitted") as raised:
        netlink_queue.is_acknowledgment(error(errno.EPERM, 7), 7)
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


def test_request_to_end_a_socket() -> None:
    flow = Flow(bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), b"\x80\x00", b"\x00\x50")
    request = _destroy_request(flow, 3)
    assert len(request) == 16 + 56
    assert request[4:6] == b"\x15\x00"
    assert request[16:18] == bytes((2, 6))
    assert request[24:28].hex() == "80000050"
    assert request[28:60] == bytes((10, 0, 0, 1)) + bytes(12) + bytes((10, 0, 0, 2)) + bytes(12)
    assert request[60:] == b"\x03\0\0\0" + b"\xff" * 8
