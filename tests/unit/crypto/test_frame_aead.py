from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto.frame_aead import (
    AES_128_GCM,
    AES_256_GCM,
    CHACHA20_POLY1305,
    FRAME_AEADS,
    NONCE_LENGTH,
    TAG_LENGTH,
    FrameAead,
    OffsetTooLarge,
)

HEADER = b"\x00\x01\x02"

each_aead = pytest.mark.parametrize("aead", FRAME_AEADS, ids=lambda aead: aead.name)
offsets = st.integers(0, 2**64 - 1)


class Published(NamedTuple):
    aead: FrameAead
    key: bytes
    nonce: bytes
    associated_data: bytes
    plaintext: bytes
    ciphertext: bytes


_GCM_PLAINTEXT = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
_GCM_NONCE = bytes.fromhex("cafebabefacedbaddecaf888")
_GCM_KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308")
_GCM_DATA = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")

PUBLISHED = [
    # McGrew and Viega, The Galois/Counter Mode of Operation (GCM), test case 4.
    Published(
        AES_128_GCM,
        _GCM_KEY,
        _GCM_NONCE,
        _GCM_DATA,
        _GCM_PLAINTEXT,
        bytes.fromhex(
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
            "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
            "5bc94fbc3221a5db94fae95ae7121a47"
        ),
    ),
    # The same, test case 16.
    Published(
        AES_256_GCM,
        _GCM_KEY * 2,
        _GCM_NONCE,
        _GCM_DATA,
        _GCM_PLAINTEXT,
        bytes.fromhex(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
            "76fc6ece0f4e1768cddf8853bb2d551b"
        ),
    ),
    # RFC 8439 section 2.8.2.
    Published(
        CHACHA20_POLY1305,
        bytes(range(0x80, 0xA0)),
        bytes.fromhex("070000004041424344454647"),
        bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen "
        b"would be it.",
        bytes.fromhex(
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
            "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
            "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
            "3ff4def08e4b7a9de576d26586cec64b6116"
            "1ae10b594f09e26a7e902ecbd0600691"
        ),
    ),
]


@pytest.mark.parametrize("vector", PUBLISHED, ids=lambda vector: vector.aead.name)
@pytest.mark.parametrize("offset", [0, 1, 2**32, 0x0123456789ABCDEF, 2**64 - 1])
def test_published_vectors_with_the_nonce_split_into_offset_and_randomizer(vector: Published, offset: int) -> None:
    frame_id = bytes(4) + offset.to_bytes(8, "big")
    randomizer = bytes(left ^ right for left, right in zip(vector.nonce, frame_id, strict=True))
    protection = vector.aead.protection(vector.key + randomizer)
    assert protection.seal(offset, vector.associated_data, vector.plaintext) == vector.ciphertext
    assert protection.open(offset, vector.associated_data, vector.ciphertext) == vector.plaintext


def test_registry_is_tables_3_and_5() -> None:
    assert [(aead.identifier, aead.key_length, aead.traffic_key_length) for aead in FRAME_AEADS] == [
        (0x0001, 16, 28),
        (0x0002, 32, 44),
        (0x0010, 32, 44),
    ]


@each_aead
@given(data=st.data(), offset=offsets, plaintext=st.binary(max_size=300))
def test_round_trip(aead: FrameAead, data: st.DataObject, offset: int, plaintext: bytes) -> None:
    length = aead.traffic_key_length
    protection = aead.protection(data.draw(st.binary(min_size=length, max_size=length)))
    sealed = protection.seal(offset, HEADER, plaintext)
    assert len(sealed) == len(plaintext) + TAG_LENGTH
    assert protection.open(offset, HEADER, sealed) == plaintext


@each_aead
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_buffers_are_taken_as_they_are(aead: FrameAead, kind: type[bytearray] | type[memoryview]) -> None:
    protection = aead.protection(bytes(range(aead.traffic_key_length)))
    sealed = protection.seal(7, HEADER, b"plaintext")
    assert protection.seal(7, kind(HEADER), kind(b"plaintext")) == sealed
    assert protection.open(7, kind(HEADER), kind(sealed)) == b"plaintext"


@each_aead
@given(bit=st.integers(0, 8 * (len(HEADER) + 21 + TAG_LENGTH) - 1))
def test_a_changed_bit_of_header_ciphertext_or_tag_is_seen(aead: FrameAead, bit: int) -> None:
    protection = aead.protection(bytes(aead.traffic_key_length))
    frame = bytearray(HEADER + protection.seal(9, HEADER, bytes(21)))
    frame[bit // 8] ^= 1 << bit % 8
    assert protection.open(9, frame[:3], frame[3:]) is None


@each_aead
@given(sealed_at=offsets, opened_at=offsets)
def test_a_frame_opens_at_its_offset_only(aead: FrameAead, sealed_at: int, opened_at: int) -> None:
    protection = aead.protection(bytes(aead.traffic_key_length))
    opened = protection.open(opened_at, HEADER, protection.seal(sealed_at, HEADER, b"x"))
    assert opened == (b"x" if opened_at == sealed_at else None)


@each_aead
@given(ciphertext=st.binary(max_size=TAG_LENGTH + 8))
def test_arbitrary_ciphertext_does_not_open(aead: FrameAead, ciphertext: bytes) -> None:
    assert aead.protection(bytes(aead.traffic_key_length)).open(0, HEADER, ciphertext) is None


@each_aead
@pytest.mark.parametrize("offset", [-1, 2**64, 2**96])
def test_offset_beyond_64_bits_is_refused(aead: FrameAead, offset: int) -> None:
    protection = aead.protection(bytes(aead.traffic_key_length))
    with pytest.raises(OffsetTooLarge):
        protection.seal(offset, HEADER, b"x")
    with pytest.raises(OffsetTooLarge):
        protection.open(offset, HEADER, bytes(17))


@each_aead
def test_traffic_key_of_another_length_is_refused(aead: FrameAead) -> None:
    for length in (0, aead.key_length, aead.traffic_key_length - 1, aead.traffic_key_length + 1):
        with pytest.raises(ValueError, match="traffic key of"):
            aead.protection(bytes(length))


@each_aead
def test_rekeying_keeps_block_cipher_calls_within_the_argument(aead: FrameAead) -> None:
    """The docstring's worst case: an empty frame is 20 bytes on the wire and two calls of the block cipher."""
    blocks = 2 * aead.rekey_bytes // (3 + 1 + TAG_LENGTH)
    assert blocks**2 * 2**57 < 2**129


def test_protection_shows_nothing() -> None:
    traffic_key = bytes(range(1, 1 + AES_128_GCM.traffic_key_length))
    protection = AES_128_GCM.protection(traffic_key)
    randomizer = int.from_bytes(traffic_key[-NONCE_LENGTH:], "big")
    for shown in (repr(protection), str(protection)):
        assert traffic_key[:16].hex() not in shown
        assert str(randomizer) not in shown
        assert f"{randomizer:x}" not in shown


@each_aead
def test_rest_changes_nothing_that_comes_out(aead: FrameAead) -> None:
    protection = aead.protection(bytes(aead.traffic_key_length))
    sealed = protection.seal(7, HEADER, b"data")
    for _ in range(2):
        protection.rest()
        assert protection.open(7, HEADER, sealed) == b"data"
        protection.rest()
        assert protection.seal(7, HEADER, b"data") == sealed
