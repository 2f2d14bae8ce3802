import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto.key_agreement import KeyAgreementError
from tcpcryptd.crypto.x25519_hpke import CIPHERTEXT_LENGTH, X25519Hpke, X25519Key

AGREEMENT = X25519Hpke()
NONCE = bytes(range(16))
P = 2**255 - 19
# The u coordinates of order 1, 2, 4 and 8, on the curve and on its twist, and those that reduce to them.
LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
)
LOW_ORDER_KEYS = [(u | top).to_bytes(32, "little") for u in LOW_ORDER for top in (0, 1 << 255)]


def _labeled_extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + material, "sha256")


def _labeled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labeled + b"\x01", "sha256")[:length]


def open_by_the_rfc(suite: bytes, shared: bytes, info: bytes, sealed: bytes) -> bytes:
    """RFC 9180 sections 5.1 and 5.2 for KDF 0x0001 and AEAD 0x0001, written out."""
    schedule = (
        b"\x00" + _labeled_extract(suite, b"", b"psk_id_hash", b"") + _labeled_extract(suite, b"", b"info_hash", info)
    )
    secret = _labeled_extract(suite, shared, b"secret", b"")
    key = _labeled_expand(suite, secret, b"key", schedule, 16)
    nonce = _labeled_expand(suite, secret, b"base_nonce", schedule, 12)
    return AESGCM(key).decrypt(nonce, sealed, b"")


def _open(private: X25519PrivateKey, ciphertext: bytes) -> bytes:
    """The KEM 0x0020 of RFC 9180 section 4.1, written out."""
    encapsulated, sealed = ciphertext[:32], ciphertext[32:]
    kem = b"KEM\x00\x20"
    shared = private.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    context = encapsulated + private.public_key().public_bytes_raw()
    shared = _labeled_expand(kem, _labeled_extract(kem, b"", b"eae_prk", shared), b"shared_secret", context, 32)
    return open_by_the_rfc(b"HPKE\x00\x20\x00\x01\x00\x01", shared, b"tcpcryptd CRYPT X25519-HPKE 1", sealed)


@given(nonce=st.binary(min_size=16, max_size=16))
def test_round_trip(nonce: bytes) -> None:
    key = AGREEMENT.generate()
    ciphertext = AGREEMENT.encapsulate(key.public_bytes, nonce)
    assert len(ciphertext) == CIPHERTEXT_LENGTH
    assert key.decapsulate(ciphertext) == nonce


def test_ciphertext_is_as_rfc_9180_says() -> None:
    private = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    ciphertext = AGREEMENT.encapsulate(private.public_key().public_bytes_raw(), NONCE)
    assert _open(private, ciphertext) == NONCE


def test_keys_are_not_repeated() -> None:
    assert AGREEMENT.generate().public_bytes != AGREEMENT.generate().public_bytes


@pytest.mark.parametrize("public_key", LOW_ORDER_KEYS, ids=lambda key: key.hex()[:8] + key.hex()[-4:])
def test_low_order_is_refused(public_key: bytes) -> None:
    with pytest.raises(KeyAgreementError):
        AGREEMENT.encapsulate(public_key, NONCE)
    with pytest.raises(KeyAgreementError):
        AGREEMENT.generate().decapsulate(public_key + bytes(32))


@pytest.mark.parametrize("length", [0, 31, 33, 256])
def test_key_of_another_length_is_refused(length: int) -> None:
    public_key = b"\x09" * length
    with pytest.raises(KeyAgreementError):
        AGREEMENT.encapsulate(public_key, NONCE)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_nonce_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyAgreementError):
        AGREEMENT.encapsulate(AGREEMENT.generate().public_bytes, bytes(length))


@given(bit=st.integers(0, CIPHERTEXT_LENGTH * 8 - 1))
def test_changed_ciphertext_is_refused(bit: int) -> None:
    key = AGREEMENT.generate()
    ciphertext = bytearray(AGREEMENT.encapsulate(key.public_bytes, NONCE))
    ciphertext[bit // 8] ^= 1 << bit % 8
    with pytest.raises(KeyAgreementError) as raised:
        key.decapsulate(bytes(ciphertext))
    assert str(raised.value) == "HPKE ciphertext cannot be deciphered"
    assert raised.value.__context__ is None


@given(ciphertext=st.binary(max_size=CIPHERTEXT_LENGTH + 16))
def test_arbitrary_ciphertext_is_refused(ciphertext: bytes) -> None:
    with pytest.raises(KeyAgreementError):
        AGREEMENT.generate().decapsulate(ciphertext)


def test_key_shows_nothing() -> None:
    private = X25519PrivateKey.generate()
    key = X25519Key(private)
    shown = f"{key!r} {key}"
    assert private.private_bytes_raw().hex() not in shown
    assert repr(private.private_bytes_raw()) not in shown
