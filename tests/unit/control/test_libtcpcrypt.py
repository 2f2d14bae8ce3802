import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.control.errors import BadMessage
from tcpcryptd.control.libtcpcrypt import (
    MAX_DATAGRAM,
    LibraryMessage,
    LibraryOption,
    LibraryRecord,
    decode_records,
    encode_records,
)
from tcpcryptd.records.address import Address

numbers = st.integers(0, 2**32 - 1)
ends = st.builds(Address, st.ip_addresses(v=4).map(str), st.integers(0, 65535))
messages = st.builds(
    LibraryMessage, numbers, ends, ends, numbers, numbers, numbers, st.binary(max_size=MAX_DATAGRAM - 36)
)
records = st.builds(LibraryRecord, ends, ends, st.binary(max_size=64))


@given(messages)
def test_messages_round_trip(message: LibraryMessage) -> None:
    assert LibraryMessage.decode(message.encode()) == message


@pytest.mark.skipif(sys.byteorder != "little", reason="the bytes are those of a little-endian host")
def test_the_bytes_of_a_message() -> None:
    message = LibraryMessage(
        1, Address("192.0.2.1", 0x1234), Address("198.51.100.2", 80), 2, 0, LibraryOption.NOCACHE, b"\1\0\0\0"
    )
    assert message.encode().hex(" ", 4) == (
        "01000000 c0000201 12340000 c6336402 00500000 02000000 00000000 65000000 04000000 01000000"
    )
    assert message.sets


def test_the_bytes_of_records() -> None:
    record = LibraryRecord(Address("192.0.2.1", 0x1234), Address("198.51.100.2", 80), b"abcde")
    expected = bytes.fromhex("c0000201 12340000 c6336402 0050 0005") + b"abcde"
    assert encode_records([record, record], 1000) == expected * 2
    assert encode_records([record, record], 41) == expected
    assert encode_records([record], 20) == b""


@given(st.lists(records, max_size=5))
def test_records_round_trip(sent: list[LibraryRecord]) -> None:
    assert list(decode_records(encode_records(sent, 10_000))) == sent


@given(st.lists(records, min_size=1, max_size=3), st.data())
def test_records_that_are_cut(sent: list[LibraryRecord], data: st.DataObject) -> None:
    encoded = encode_records(sent, 10_000)
    boundaries = {len(encode_records(sent[:count], 10_000)) for count in range(len(sent) + 1)}
    length = data.draw(st.integers(0, len(encoded)).filter(lambda number: number not in boundaries))
    with pytest.raises(BadMessage):
        list(decode_records(encoded[:length]))


@given(st.binary(max_size=100))
def test_garbage(datagram: bytes) -> None:
    try:
        message = LibraryMessage.decode(datagram)
    except BadMessage:
        return
    assert len(datagram) == 36 + len(message.data)


@pytest.mark.parametrize("announced", [3, 5, 2**32 - 1])
def test_the_length_must_be_right(announced: int) -> None:
    datagram = LibraryMessage(0, Address("0.0.0.0", 1), Address("0.0.0.0", 0), 0, 0, 0, bytes(4)).encode()
    with pytest.raises(BadMessage):
        LibraryMessage.decode(datagram[:32] + struct.pack("=I", announced) + datagram[36:])


def test_a_datagram_that_is_too_long() -> None:
    message = LibraryMessage(0, Address("0.0.0.0", 1), Address("0.0.0.0", 0), 0, 0, 0, bytes(MAX_DATAGRAM - 35))
    with pytest.raises(BadMessage):
        LibraryMessage.decode(message.encode())
