import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto.key_agreement import KeyAgreementError
from tcpcryptd.crypto.rsa_oaep import MODULUS_LENGTH, RsaOaep, RsaPrivateKey
from tests.unit.crypto.vectors import load_connections

FIRST = load_connections()[0]
PRIMES = int(FIRST["rsa"]["rsa_p"], 16), int(FIRST["rsa"]["rsa_q"], 16)
MODULUS = bytes.fromhex(FIRST["K_C"])
NONCE = bytes.fromhex(FIRST["N_S"])
CIPHERTEXT = bytes.fromhex(FIRST["oaep_ciphertext"])
KEY = RsaPrivateKey.from_primes(*PRIMES)
AGREEMENT = RsaOaep()


def _encipher(message: bytes) -> bytes:
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303
    return rsa.RSAPublicNumbers(3, int.from_bytes(MODULUS, "big")).public_key().encrypt(message, oaep)


def test_recorded_modulus() -> None:
    assert KEY.public_bytes == MODULUS


def test_recorded_ciphertext() -> None:
    assert KEY.decapsulate(CIPHERTEXT) == NONCE


@given(nonce=st.binary(min_size=16, max_size=16))
def test_round_trip(nonce: bytes) -> None:
    ciphertext = AGREEMENT.encapsulate(MODULUS, nonce)
    assert len(ciphertext) == MODULUS_LENGTH
    assert KEY.decapsulate(ciphertext) == nonce


def test_encapsulation_is_randomised() -> None:
    assert AGREEMENT.encapsulate(MODULUS, NONCE) != AGREEMENT.encapsulate(MODULUS, NONCE)


def test_generated_key_is_accepted_and_deciphers() -> None:
    key = AGREEMENT.generate()
    assert key.decapsulate(AGREEMENT.encapsulate(key.public_bytes, NONCE)) == NONCE


@pytest.mark.parametrize(
    "modulus",
    [
        pytest.param(b"", id="empty"),
        pytest.param(MODULUS[1:], id="a byte short"),
        pytest.param(b"\x00" + MODULUS, id="a byte long"),
        pytest.param(b"\x00" + MODULUS[1:], id="leading zero"),
        pytest.param(b"\x7f" + MODULUS[1:], id="2047 bits"),
        pytest.param(MODULUS[:-1] + b"\xa8", id="even"),
        pytest.param(bytes(MODULUS_LENGTH), id="zero"),
    ],
)
def test_bad_modulus_is_refused(modulus: bytes) -> None:
    with pytest.raises(KeyAgreementError):
        AGREEMENT.encapsulate(modulus, NONCE)


@given(middle=st.binary(min_size=MODULUS_LENGTH - 2, max_size=MODULUS_LENGTH - 2))
def test_any_modulus_of_the_right_form_encapsulates(middle: bytes) -> None:
    modulus = b"\x80" + middle + b"\x01"
    assert len(AGREEMENT.encapsulate(modulus, NONCE)) == MODULUS_LENGTH


@pytest.mark.parametrize("length", [0, 15, 17, 214])
def test_nonce_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyAgreementError):
        AGREEMENT.encapsulate(MODULUS, bytes(length))


@pytest.mark.parametrize(
    "ciphertext",
    [
        pytest.param(b"", id="empty"),
        pytest.param(CIPHERTEXT[:-1], id="a byte short"),
        pytest.param(CIPHERTEXT + b"\x00", id="a byte long"),
        pytest.param(CIPHERTEXT[:-1] + bytes([CIPHERTEXT[-1] ^ 1]), id="a bit changed"),
        pytest.param(bytes(MODULUS_LENGTH), id="zero"),
        pytest.param(b"\xff" * MODULUS_LENGTH, id="larger than the modulus"),
        pytest.param(_encipher(b""), id="empty nonce"),
        pytest.param(_encipher(bytes(15)), id="short nonce"),
        pytest.param(_encipher(bytes(17)), id="long nonce"),
    ],
)
def test_bad_ciphertexts_all_give_the_same_error(ciphertext: bytes) -> None:
    with pytest.raises(KeyAgreementError) as raised:
        KEY.decapsulate(ciphertext)
    assert str(raised.value) == "RSA ciphertext cannot be deciphered"
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


@pytest.mark.parametrize("primes", [(1, 1), (4, 9), (PRIMES[0], PRIMES[1] + 1), (PRIMES[0], 5)])
def test_other_numbers_are_no_key(primes: tuple[int, int]) -> None:
    with pytest.raises(KeyAgreementError) as raised:
        RsaPrivateKey.from_primes(*primes)
    assert str(max(primes)) not in str(raised.value)


def test_key_shows_nothing() -> None:
    shown = f"{KEY!r} {KEY}"
    for prime in PRIMES:
        assert str(prime) not in shown
        assert f"{prime:x}" not in shown
