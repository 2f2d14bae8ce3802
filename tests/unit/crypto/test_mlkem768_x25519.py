import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto import mlkem768_x25519 as kem
from tcpcryptd.crypto.key_agreement import KeyAgreementError
from tcpcryptd.crypto.key_pool import KeyPool
from tcpcryptd.crypto.mlkem768_x25519_hpke import CIPHERTEXT_LENGTH, MlKemHpke, MlKemHpkeKey
from tests.unit.crypto.test_x25519_hpke import LOW_ORDER_KEYS, open_by_the_rfc

AGREEMENT = MlKemHpke()
NONCE = bytes(range(16))


def _open(key: kem.KemKey, ciphertext: bytes) -> bytes:
    """KEM 0x647a, our own."""
    shared = key.decapsulate(ciphertext[: kem.CIPHERTEXT_LENGTH])
    info = b"tcpcryptd CRYPT MLKEM768-X25519-HPKE 1"
    return open_by_the_rfc(b"HPKE\x64\x7a\x00\x01\x00\x01", shared, info, ciphertext[kem.CIPHERTEXT_LENGTH :])


def _key() -> kem.KemKey:
    return kem.KemKey(
        MLKEM768PrivateKey.from_seed_bytes(bytes(range(64))), X25519PrivateKey.from_private_bytes(bytes(range(32)))
    )


def test_both_ends_have_the_secret() -> None:
    key = kem.generate()
    secret, ciphertext = kem.encapsulate(key.public_bytes)
    assert (len(secret), len(ciphertext)) == (32, kem.CIPHERTEXT_LENGTH)
    assert len(key.public_bytes) == kem.PUBLIC_KEY_LENGTH
    assert key.decapsulate(ciphertext) == secret


def test_the_secret_is_that_of_the_library_s_hpke() -> None:
    key = _key()
    ciphertext = AGREEMENT.encapsulate(key.public_bytes, NONCE)
    assert len(ciphertext) == CIPHERTEXT_LENGTH
    assert _open(key, ciphertext) == NONCE


def test_nothing_is_repeated() -> None:
    assert kem.generate().public_bytes != kem.generate().public_bytes
    key = _key().public_bytes
    assert kem.encapsulate(key) != kem.encapsulate(key)
    assert AGREEMENT.generate().public_bytes != AGREEMENT.generate().public_bytes


@given(bit=st.integers(0, kem.CIPHERTEXT_LENGTH * 8 - 1))
def test_a_changed_ciphertext_gives_another_secret(bit: int) -> None:
    key = _key()
    secret, ciphertext = kem.encapsulate(key.public_bytes)
    changed = bytearray(ciphertext)
    changed[bit // 8] ^= 1 << bit % 8
    assert key.decapsulate(bytes(changed)) != secret


@pytest.mark.parametrize("length", [0, 32, 1119, 1121])
def test_a_ciphertext_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(kem.KemError):
        _key().decapsulate(bytes(length))


@pytest.mark.parametrize("public_key", LOW_ORDER_KEYS[:3], ids=lambda key: key.hex()[:8] + key.hex()[-4:])
def test_low_order_is_refused(public_key: bytes) -> None:
    key = _key()
    hybrid = key.public_bytes[:-32] + public_key
    _, ciphertext = kem.encapsulate(key.public_bytes)
    with pytest.raises(kem.KemError):
        kem.encapsulate(hybrid)
    with pytest.raises(kem.KemError):
        key.decapsulate(ciphertext[:-32] + public_key)
    with pytest.raises(KeyAgreementError):
        AGREEMENT.encapsulate(hybrid, NONCE)
    with pytest.raises(KeyAgreementError):
        MlKemHpkeKey(key).decapsulate(ciphertext[:-32] + public_key + bytes(32))


@pytest.mark.parametrize(
    "public_key", [b"", bytes(1215), bytes(1216), bytes(1217), b"\xff" * 1216], ids=lambda key: str(len(key))
)
def test_a_malformed_public_key_is_refused(public_key: bytes) -> None:
    with pytest.raises(kem.KemError):
        kem.encapsulate(public_key)
    with pytest.raises(KeyAgreementError):
        AGREEMENT.encapsulate(public_key, NONCE)


@given(nonce=st.binary(min_size=16, max_size=16))
def test_a_nonce_comes_through(nonce: bytes) -> None:
    key = AGREEMENT.generate()
    assert key.decapsulate(AGREEMENT.encapsulate(key.public_bytes, nonce)) == nonce


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_nonce_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyAgreementError):
        AGREEMENT.encapsulate(_key().public_bytes, bytes(length))


@given(bit=st.integers(0, CIPHERTEXT_LENGTH * 8 - 1))
def test_a_changed_message_is_refused(bit: int) -> None:
    key = MlKemHpkeKey(_key())
    ciphertext = bytearray(AGREEMENT.encapsulate(key.public_bytes, NONCE))
    ciphertext[bit // 8] ^= 1 << bit % 8
    with pytest.raises(KeyAgreementError) as raised:
        key.decapsulate(bytes(ciphertext))
    assert str(raised.value) == "HPKE ciphertext cannot be deciphered"
    assert raised.value.__context__ is None


@pytest.mark.parametrize("ciphertext", [b"", bytes(64), bytes(1151), bytes(1152), bytes(1153)], ids=len)
def test_an_arbitrary_message_is_refused(ciphertext: bytes) -> None:
    with pytest.raises(KeyAgreementError):
        MlKemHpkeKey(_key()).decapsulate(ciphertext)


def test_keys_show_nothing() -> None:
    key = _key()
    secret = bytes(range(32))
    for shown in (f"{key!r} {key}", repr(MlKemHpkeKey(key))):
        assert secret.hex() not in shown
        assert repr(secret) not in shown


def test_an_openssl_without_ml_kem_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> MLKEM768PrivateKey:
        raise UnsupportedAlgorithm("ML-KEM-768 is not supported by this backend.")

    assert kem.is_available()
    kem.is_available.cache_clear()
    monkeypatch.setattr(MLKEM768PrivateKey, "generate", lacking)
    try:
        assert not kem.is_available()
    finally:
        kem.is_available.cache_clear()


def test_a_pool_hands_out_each_key_once() -> None:
    pool = KeyPool(3)
    made = 0
    while pool.is_short():
        pool.refill()
        made += 1
    pool.refill()
    assert (made, len(pool)) == (3, 3)
    keys = {pool.take().public_bytes for _ in range(3)}
    assert (len(keys), len(pool), pool.made_on_demand) == (3, 0, 0)


def test_an_empty_pool_makes_what_is_needed() -> None:
    pool = KeyPool(0)
    pool.refill()
    assert not pool.is_short()
    assert pool.take().public_bytes != pool.take().public_bytes
    assert (len(pool), pool.made_on_demand) == (0, 2)
