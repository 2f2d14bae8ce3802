"""N_S out of an HPKE ciphertext (RFC 9180, base mode), as the key exchange's client has it."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tcpcryptd.crypto.key_agreement import NONCE_LENGTH, KeyAgreementError


def opened(
    suite: hpke.Suite,
    key: X25519PrivateKey | hpke.MLKEM768X25519PrivateKey,
    info: bytes,
    ciphertext: bytes,
    length: int,
) -> bytes:
    """The nonce, 16 bytes; `length`: bytes that the ciphertext has to have.

    Raises:
        KeyAgreementError: The ciphertext is wrong in any way; there is one error for all of them.
    """
    nonce = b""
    if len(ciphertext) == length:
        try:
            nonce = suite.decrypt(ciphertext, key, info)
        except (InvalidTag, ValueError):
            nonce = b""
    if len(nonce) != NONCE_LENGTH:
        raise KeyAgreementError("HPKE ciphertext cannot be deciphered")
    return nonce
