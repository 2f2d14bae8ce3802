"""Key agreement with X25519 (RFC 7748) and HPKE in base mode (RFC 9180), in our private range of identifiers.

K_C is an ephemeral X25519 public key of 32 bytes. ENC(K_C, N_S) is HPKE's encapsulated key (32 bytes), followed by N_S
sealed with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM (16 + 16 bytes).
"""

from typing import Final

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tcpcryptd.crypto.hpke_nonce import opened
from tcpcryptd.crypto.key_agreement import NONCE_LENGTH, KeyAgreementError

PUBLIC_KEY_LENGTH: Final = 32
CIPHERTEXT_LENGTH: Final = PUBLIC_KEY_LENGTH + NONCE_LENGTH + 16

_SUITE: Final = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
_INFO: Final = b"tcpcryptd CRYPT X25519-HPKE 1"


class X25519Key:
    """An X25519 key pair."""

    __slots__ = ("_key", "_public_bytes")

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self._public_bytes = key.public_key().public_bytes_raw()

    @property
    def public_bytes(self) -> bytes:
        """K_C: the public key, 32 bytes, little endian (RFC 7748 section 5)."""
        return self._public_bytes

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return N_S (16 bytes) from ENC(K_C, N_S) (64 bytes).

        Raises:
            KeyAgreementError: The ciphertext is wrong in any way.
        """
        return opened(_SUITE, self._key, _INFO, ciphertext, CIPHERTEXT_LENGTH)


class X25519Hpke:
    """The mechanism with public-key algorithm 0xf0."""

    name = "X25519-HPKE"
    ephemeral = True
    post_quantum = False

    def generate(self) -> X25519Key:
        """Make a new key pair."""
        return X25519Key(X25519PrivateKey.generate())

    def encapsulate(self, public_key: bytes, nonce: bytes) -> bytes:
        """Return ENC(K_C, N_S), 64 bytes.

        Raises:
            KeyAgreementError: The public key is not acceptable, or the nonce is not of 16 bytes.
        """
        if len(nonce) != NONCE_LENGTH:
            raise KeyAgreementError(f"nonce of {len(nonce)} bytes, not {NONCE_LENGTH}")
        key = _load(public_key)
        try:
            return _SUITE.encrypt(nonce, key, _INFO)
        except ValueError as error:
            # HPKE itself refuses points of low order (RFC 9180 section 7.1.4).
            raise KeyAgreementError("X25519 public key of low order") from error


def _load(public_key: bytes) -> X25519PublicKey:
    if len(public_key) != PUBLIC_KEY_LENGTH:
        raise KeyAgreementError(f"X25519 public key of {len(public_key)} bytes, not {PUBLIC_KEY_LENGTH}")
    return X25519PublicKey.from_public_bytes(public_key)
