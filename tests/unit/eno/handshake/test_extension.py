"""The extension field of the experiment's Init messages (docs/eno.md)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.eno.handshake.init_messages import MAX_INIT_LENGTH, Init1, Init2, InitMessageError
from tcpcryptd.wire import extension
from tcpcryptd.wire.extension import ExtensionError
from tcpcryptd.wire.reader import Reader

NONCE = bytes(range(32))
PUBLIC = bytes(range(100, 132))
FIRST = Init1((1,), NONCE, PUBLIC, {})
SECOND = Init2(1, NONCE, PUBLIC, {})
MESSAGES = pytest.mark.parametrize("message", [FIRST, SECOND], ids=["Init1", "Init2"])
ITEMS = st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=40), max_size=5)


def read(field: bytes, *known: int) -> dict[int, bytes]:
    return extension.read(Reader(field), frozenset(known))


def with_field(message: Init1 | Init2, field: bytes) -> bytes:
    """The message with another extension field, and what may follow it."""
    encoded = message.encode()[:-2] + field
    return encoded[:4] + len(encoded).to_bytes(4, "big") + encoded[8:]


@given(ITEMS, st.binary(max_size=10))
def test_round_trip(items: dict[int, bytes], behind: bytes) -> None:
    reader = Reader(extension.encode(items) + behind)
    assert extension.read(reader, frozenset(items)) == items
    assert reader.rest() == behind


@given(ITEMS)
def test_what_is_not_known(items: dict[int, bytes]) -> None:
    """It is ignored, unless it says that it must not be."""
    if any(kind & extension.CRITICAL for kind in items):
        with pytest.raises(ExtensionError, match="unknown"):
            read(extension.encode(items))
    else:
        assert read(extension.encode(items)) == {}


@given(st.binary(max_size=60))
def test_any_bytes(field: bytes) -> None:
    try:
        read(field, 1)
    except ExtensionError:
        return


def test_the_encoding() -> None:
    assert extension.encode({}) == bytes(2)
    assert extension.encode({0x8001: b"second", 2: b""}) == bytes.fromhex("000e 0002 0000 8001 0006") + b"second"


@pytest.mark.parametrize(
    "field",
    [
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\0",
        b"\0\3\0\1\0",
        b"\0\5\0\1\0\2x",
        b"\0\x08\0\2\0\0\0\1\0\0",
        b"\0\x08\0\1\0\0\0\1\0\0",
        b"\x10\x01" + bytes(4097),
    ],
)
@MESSAGES
def test_a_malformed_field_aborts(message: Init1 | Init2, field: bytes) -> None:
    with pytest.raises(ExtensionError):
        read(field, 1, 2)
    with pytest.raises(InitMessageError):
        type(message).read(with_field(message, field), len(PUBLIC), extensible=True)


def test_too_much_to_send() -> None:
    assert len(extension.encode({1: bytes(4092)})) == 4098
    with pytest.raises(ExtensionError):
        extension.encode({1: bytes(4093)})


@MESSAGES
def test_in_a_message(message: Init1 | Init2) -> None:
    encoded = message.encode()
    assert encoded[-34:] == PUBLIC + bytes(2)
    assert type(message).read(encoded, len(PUBLIC), extensible=True) == (message, encoded)
    unknown = with_field(message, extension.encode({7: b"of a later version"}) + b"ignored")
    assert type(message).read(unknown + b"frames", len(PUBLIC), extensible=True) == (message, unknown)
    critical = with_field(message, extension.encode({0x8007: b""}))
    with pytest.raises(InitMessageError, match="unknown"):
        type(message).read(critical, len(PUBLIC), extensible=True)


@MESSAGES
def test_a_field_that_goes_beyond_the_message(message: Init1 | Init2) -> None:
    encoded = message.encode()[:-2] + b"\x00\x04\x00\x01\x00\x00"
    cut = encoded[:4] + (len(encoded) - 1).to_bytes(4, "big") + encoded[8:]
    with pytest.raises(InitMessageError):
        type(message).read(cut, len(PUBLIC), extensible=True)


def test_the_longest_of_ours() -> None:
    longest = Init1(tuple(range(255)), NONCE, bytes(1216), {1: bytes(4092)}).encode()
    assert len(longest) == 5865 < MAX_INIT_LENGTH
