import hmac

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto import tcpcrypt_schedule as schedule
from tcpcryptd.crypto.frame_aead import FRAME_AEADS, FrameAead

SECRET = bytes(range(32))
NONCE = bytes(range(0x40, 0x50))

# RFC 5869 appendix A.1 to A.3: IKM, salt, info, L, PRK, OKM.
RFC_5869 = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        42,
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        82,
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "0b" * 22,
        "",
        "",
        42,
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


def hkdf_expand(key: bytes, info: bytes, length: int) -> bytes:
    return HKDFExpand(SHA256(), length, info).derive(key)


@pytest.mark.parametrize("vector", RFC_5869, ids=["A.1", "A.2", "A.3"])
def test_rfc_5869(vector: tuple[str, str, str, int, str, str]) -> None:
    material, salt, info, length, prk, okm = vector
    assert schedule.extract(bytes.fromhex(salt), bytes.fromhex(material)).hex() == prk
    assert schedule.cprf(bytes.fromhex(prk), bytes.fromhex(info), length).hex() == okm


@given(key=st.binary(min_size=32, max_size=64), constant=st.binary(max_size=40), length=st.integers(1, 255 * 32))
def test_cprf_is_hkdf_expand(key: bytes, constant: bytes, length: int) -> None:
    assert schedule.cprf(key, constant, length) == hkdf_expand(key, constant, length)


def test_cprf_has_an_end() -> None:
    assert len(schedule.cprf(SECRET, b"\x01", 255 * 32)) == 255 * 32
    with pytest.raises(ValueError, match="8161 bytes"):
        schedule.cprf(SECRET, b"\x01", 255 * 32 + 1)


def test_prk_is_keyed_with_the_nonce_over_the_concatenation() -> None:
    prk = schedule.prk(NONCE * 2, b"transcript", b"init1", b"init2", b"secret")
    assert prk == hmac.digest(NONCE * 2, b"transcriptinit1init2secret", "sha256")


def test_values_have_their_constants_and_lengths() -> None:
    """RFC 8548 section 4.3, Table 1, and the formulas of 3.3 to 3.5."""
    assert schedule.next_secret(SECRET) == hkdf_expand(SECRET, b"\x01", 32)
    assert schedule.session_id(0xA3, SECRET, NONCE) == b"\xa3" + hkdf_expand(SECRET, b"\x02" + NONCE, 32)
    assert len(schedule.session_id(0xA3, SECRET, NONCE)) == 33
    assert schedule.first_master_key(SECRET, NONCE) == hkdf_expand(SECRET, b"\x03" + NONCE, 32)
    assert schedule.next_master_key(SECRET) == hkdf_expand(SECRET, b"\x03", 32)
    assert schedule.resumption_identifier(SECRET) == hkdf_expand(SECRET, b"\x06", 18)
    prf = schedule.keyed(SECRET)
    for derive in (schedule.next_secret, schedule.resumption_identifier):
        assert derive(prf) == derive(SECRET)
    assert schedule.session_id(0xA3, prf, NONCE) == schedule.session_id(0xA3, SECRET, NONCE)
    assert schedule.first_master_key(prf, NONCE) == schedule.first_master_key(SECRET, NONCE)
    assert schedule.cprf(prf, b"\x01", 70) == hkdf_expand(SECRET, b"\x01", 70)


@pytest.mark.parametrize("aead", FRAME_AEADS, ids=lambda aead: aead.name)
def test_traffic_keys_are_as_long_as_the_algorithm_wants(aead: FrameAead) -> None:
    length = aead.key_length + 12
    expected = hkdf_expand(SECRET, b"\x04", length), hkdf_expand(SECRET, b"\x05", length)
    assert tuple(schedule.traffic_key(SECRET, aead, direction) for direction in (0, 1)) == expected
    for key in expected:
        aead.protection(key)
