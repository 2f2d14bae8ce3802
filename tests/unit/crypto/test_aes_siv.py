import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto.aes_siv import SivProtection
from tests.unit.crypto import siv

# RFC 5297, section A.1: key, associated data, plaintext, tag, ciphertext; the second one's in section A.2 is a vector.
RFC_KEY = "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
RFC_ASSOCIATED_DATA = "101112131415161718191a1b1c1d1e1f2021222324252627"
RFC_PLAINTEXT = "112233445566778899aabbccddee"
RFC_TAG = "85632d07c6e8f37f950acd320a2ecc93"
RFC_CIPHERTEXT = "40c02b9690c4dc04daef7f6afe5c"
RFC_VECTOR = (
    "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
    (
        "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
        "102030405060708090a0",
        "09f911029d74e35bd84156c5635688c0",
    ),
    "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
    "7bdb6e3b432667eb06f4d14bff2fbd0f",
    "cb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
)
VECTORS = json.loads(siv.PATH.read_text())
HEADER = bytes(range(16))


def test_rfc_5297_vector() -> None:
    protection = SivProtection(bytes.fromhex(RFC_KEY), b"")
    associated, plaintext = bytes.fromhex(RFC_ASSOCIATED_DATA), bytes.fromhex(RFC_PLAINTEXT)
    sealed = bytes.fromhex(RFC_CIPHERTEXT), bytes.fromhex(RFC_TAG)
    assert protection.seal(0, associated[:16], associated[16:], b"", plaintext) == sealed
    assert protection.open(0, associated[:16], associated[16:], b"", *sealed) == plaintext


def test_independent_implementation_makes_the_rfcs_vectors() -> None:
    key, associated, plaintext, tag, ciphertext = RFC_VECTOR
    parts = [bytes.fromhex(part) for part in associated]
    made = siv.sealed(bytes.fromhex(key), parts, bytes.fromhex(plaintext))
    assert made == (bytes.fromhex(ciphertext), bytes.fromhex(tag))
    made = siv.sealed(bytes.fromhex(RFC_KEY), [bytes.fromhex(RFC_ASSOCIATED_DATA)], bytes.fromhex(RFC_PLAINTEXT))
    assert made == (bytes.fromhex(RFC_CIPHERTEXT), bytes.fromhex(RFC_TAG))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(len(vector["payload"]) // 2))
def test_vectors(vector: dict[str, str]) -> None:
    part = {name: bytes.fromhex(value) for name, value in vector.items()}
    protection = SivProtection(part["key"], b"")
    covering = 0, part["M"], part["A"], part["O"]
    assert protection.seal(*covering, part["payload"]) == (part["ciphertext"], part["tag"])
    assert protection.open(*covering, part["ciphertext"], part["tag"]) == part["payload"]


@given(
    st.binary(min_size=40, max_size=40),
    st.binary(min_size=24, max_size=24),
    st.binary(max_size=40),
    st.binary(max_size=70),
)
def test_it_is_what_the_rfc_says(key: bytes, fixed: bytes, options: bytes, payload: bytes) -> None:
    protection = SivProtection(key, b"")
    expected = siv.sealed(key[:32], [fixed + options], payload)
    assert protection.seal(7, fixed[:16], fixed[16:], options, payload) == expected


def test_retransmission_with_another_acknowledgment_has_another_keystream() -> None:
    protection = SivProtection(bytes(40), b"")
    first, first_tag = protection.seal(5, HEADER, bytes(8), b"", bytes(64))
    second, second_tag = protection.seal(5, HEADER, bytes(7) + b"\x01", b"", bytes(64))
    assert first_tag != second_tag
    # With the same keystream, a zero plaintext would have enciphered to the same bytes.
    assert not any(first[i : i + 16] == second[i : i + 16] for i in range(0, 64, 16))


def test_short_key_material_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        SivProtection(bytes(31), b"")
