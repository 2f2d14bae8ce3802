"""Init1 and Init2 (RFC 8548 section 4.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto.ecdhe import ECDHE_SCHEMES, X25519
from tcpcryptd.eno.constants import INIT1_MAGIC, INIT2_MAGIC
from tcpcryptd.eno.handshake.init_messages import MAX_INIT_LENGTH, Init1, Init2, InitMessageError, message_length

CIPHERS = st.integers(0, 0xFFFF)
NONCES = st.binary(min_size=32, max_size=32)
PUBLICS = st.sampled_from(ECDHE_SCHEMES).flatmap(
    lambda scheme: st.binary(min_size=scheme.public_length, max_size=scheme.public_length)
)
INIT1 = st.builds(Init1, st.lists(CIPHERS, min_size=1, max_size=255).map(tuple), NONCES, PUBLICS)
INIT2 = st.builds(Init2, CIPHERS, NONCES, PUBLICS)
MESSAGES = INIT1 | INIT2

NONCE = bytes(range(32))
PUBLIC = bytes(range(100, 132))
FIRST = Init1((1, 2, 0x10), NONCE, PUBLIC)
SECOND = Init2(2, NONCE, PUBLIC)


def with_length(message: bytes, length: int) -> bytes:
    return message[:4] + length.to_bytes(4, "big") + message[8:]


def test_the_encoding_of_init1() -> None:
    assert FIRST.encode() == bytes.fromhex("15101a0e 0000004f 03 0001 0002 0010") + NONCE + PUBLIC


def test_the_encoding_of_init2() -> None:
    assert SECOND.encode() == bytes.fromhex("097105e0 0000004a 0002") + NONCE + PUBLIC


@given(MESSAGES, st.binary(max_size=100))
def test_round_trip_with_frames_behind(message: Init1 | Init2, frames: bytes) -> None:
    encoded = message.encode()
    assert type(message).read(encoded + frames, len(message.public)) == (message, encoded)


@given(MESSAGES, st.binary(max_size=100), st.binary(max_size=20))
def test_bytes_behind_the_key_are_ignored_but_kept_for_prk(message: Init1 | Init2, ignored: bytes, more: bytes) -> None:
    encoded = with_length(message.encode() + ignored, len(message.encode()) + len(ignored))
    assert type(message).read(encoded + more, len(message.public)) == (message, encoded)


@given(MESSAGES)
def test_every_beginning_is_incomplete(message: Init1 | Init2) -> None:
    encoded = message.encode()
    for length in range(len(encoded)):
        assert type(message).read(encoded[:length], len(message.public)) is None


@given(st.binary(max_size=200), st.sampled_from((32, 35, 56, 69)))
def test_any_bytes(stream: bytes, public_length: int) -> None:
    for kind, magic in ((Init1, INIT1_MAGIC), (Init2, INIT2_MAGIC)):
        for start in (b"", magic.to_bytes(4, "big"), magic.to_bytes(4, "big") + len(stream).to_bytes(4, "big")):
            try:
                found = kind.read(start + stream, public_length)
            except InitMessageError:
                continue
            assert found is None or (start + stream).startswith(found[1])


@pytest.mark.parametrize(("kind", "other"), [(Init1, SECOND), (Init2, FIRST)])
def test_the_other_message(kind: type[Init1] | type[Init2], other: Init1 | Init2) -> None:
    with pytest.raises(InitMessageError):
        kind.read(other.encode()[:1], X25519.public_length)


@pytest.mark.parametrize("stream", [b"G", b"\x15\x11", b"\x15\x10\x1a\x0f", b"HTTP/1.1 200"])
def test_another_magic_is_refused_with_its_first_wrong_byte(stream: bytes) -> None:
    with pytest.raises(InitMessageError, match="in the place of 15101a0e"):
        Init1.read(stream, X25519.public_length)


@pytest.mark.parametrize("length", [0, 7, MAX_INIT_LENGTH + 1, 0xFFFFFFFF])
def test_a_length_that_cannot_be_is_refused_before_the_message_came(length: int) -> None:
    with pytest.raises(InitMessageError, match=f"message of {length} bytes"):
        Init1.read(with_length(FIRST.encode(), length)[:8], X25519.public_length)


def test_the_longest_message() -> None:
    encoded = with_length(FIRST.encode(), MAX_INIT_LENGTH).ljust(MAX_INIT_LENGTH, b"x")
    assert Init1.read(encoded[:-1], X25519.public_length) is None
    assert Init1.read(encoded, X25519.public_length) == (FIRST, encoded)


@pytest.mark.parametrize("message", [Init1((1,), NONCE, PUBLIC), SECOND])
def test_too_short_for_its_fields(message: Init1 | Init2) -> None:
    encoded = message.encode()
    with pytest.raises(InitMessageError, match="which needs"):
        type(message).read(with_length(encoded, len(encoded) - 1)[:8], X25519.public_length)


def test_more_ciphers_than_there_is_space_for() -> None:
    encoded = bytearray(FIRST.encode())
    encoded[8] = 4
    with pytest.raises(InitMessageError, match="Init1: "):
        Init1.read(bytes(encoded), X25519.public_length)


def test_no_ciphers() -> None:
    encoded = with_length(bytes.fromhex("15101a0e 00000000 00") + NONCE + PUBLIC + b"xx", 75)
    with pytest.raises(InitMessageError, match="without ciphers"):
        Init1.read(encoded, X25519.public_length)


@pytest.mark.parametrize("ciphers", [(), tuple(range(256))])
def test_a_number_of_ciphers_that_cannot_be_sent(ciphers: tuple[int, ...]) -> None:
    with pytest.raises(InitMessageError, match=f"{len(ciphers)} ciphers"):
        Init1(ciphers, NONCE, PUBLIC).encode()


@pytest.mark.parametrize("message", [Init1((1,), NONCE[1:], PUBLIC), Init2(1, NONCE + b"x", PUBLIC)])
def test_a_nonce_that_cannot_be_sent(message: Init1 | Init2) -> None:
    with pytest.raises(InitMessageError, match="nonce of"):
        message.encode()


def test_message_length() -> None:
    assert message_length(FIRST.encode()[:7], INIT1_MAGIC) is None
    assert message_length(FIRST.encode()[:8], INIT1_MAGIC) == len(FIRST.encode())


def test_host_b_selects_by_its_own_preference() -> None:
    assert FIRST.select((0x10, 1)) == 0x10
    assert FIRST.select((3, 2, 1)) == 2
    assert FIRST.select((3,)) is None


def test_host_a_recognises_a_cipher_that_it_did_not_offer() -> None:
    assert SECOND.answers(FIRST)
    assert not Init2(3, NONCE, PUBLIC).answers(FIRST)
