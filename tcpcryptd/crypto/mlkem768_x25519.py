"""The hybrid KEM MLKEM768-X25519, also called X-Wing (draft-connolly-cfrg-xwing-kem, section 5; HPKE's KEM 0x647a).

A public key is one of ML-KEM-768 (FIPS 203; 1,184 bytes) and one of X25519 (RFC 7748; 32 bytes). A ciphertext is
ML-KEM's (1,088 bytes) and an ephemeral X25519 public key. The shared secret comes from both, and holds while one does.
`cryptography` has this KEM inside of its HPKE only; here it is put together from the same two halves.
"""

import hashlib
from functools import cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

_MLKEM_KEY_LENGTH: Final = 1184
_MLKEM_CIPHERTEXT_LENGTH: Final = 1088
_X25519_LENGTH: Final = 32
PUBLIC_KEY_LENGTH: Final = _MLKEM_KEY_LENGTH + _X25519_LENGTH
CIPHERTEXT_LENGTH: Final = _MLKEM_CIPHERTEXT_LENGTH + _X25519_LENGTH
_LABEL: Final = bytes.fromhex("5c2e2f2f5e5c")


class KemError(ValueError):
    """A public key or a ciphertext is not acceptable."""


@cache
def is_available() -> bool:
    """Whether the OpenSSL that `cryptography` was built with has ML-KEM, as 3.5 and later have."""
    try:
        MLKEM768PrivateKey.generate()
    except UnsupportedAlgorithm:
        return False
    return True


class KemKey:
    """A key pair, for one connection."""

    __slots__ = ("_mlkem", "_public_bytes", "_x25519")

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._mlkem = mlkem
        self._x25519 = x25519
        self._public_bytes = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    @property
    def public_bytes(self) -> bytes:
        """The public key, 1,216 bytes."""
        return self._public_bytes

    @property
    def for_hpke(self) -> hpke.MLKEM768X25519PrivateKey:
        """The same key pair for HPKE."""
        return hpke.MLKEM768X25519PrivateKey(self._mlkem, self._x25519)

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the shared secret, 32 bytes, of a ciphertext.

        A wrong ciphertext gives another secret and no error, since ML-KEM rejects implicitly (FIPS 203 section 6.3):
        only what is derived from the secret shows it.

        Raises:
            KemError: The ciphertext has not 1,120 bytes, or its X25519 half is a point of low order.
        """
        if len(ciphertext) != CIPHERTEXT_LENGTH:
            raise KemError(f"ciphertext of {len(ciphertext)} bytes, not {CIPHERTEXT_LENGTH}")
        ephemeral = ciphertext[_MLKEM_CIPHERTEXT_LENGTH:]
        shared = _exchange(self._x25519, X25519PublicKey.from_public_bytes(ephemeral))
        secret = self._mlkem.decapsulate(ciphertext[:_MLKEM_CIPHERTEXT_LENGTH])
        return _combine(secret, shared, ephemeral, self._public_bytes[_MLKEM_KEY_LENGTH:])


def generate() -> KemKey:
    """Make a new key pair, which takes about four times as long as with X25519; see `key_pool`."""
    return KemKey(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())


def encapsulate(public_key: bytes) -> tuple[bytes, bytes]:
    """Return a shared secret, 32 bytes, and its ciphertext, 1,120 bytes.

    Raises:
        KemError: See `load_public_key`; or the X25519 half is a point of low order.
    """
    mlkem, x25519 = _halves(public_key)
    ephemeral = X25519PrivateKey.generate()
    shared = _exchange(ephemeral, x25519)
    secret, ciphertext = mlkem.encapsulate()
    share = ephemeral.public_key().public_bytes_raw()
    return _combine(secret, shared, share, public_key[_MLKEM_KEY_LENGTH:]), ciphertext + share


def load_public_key(public_key: bytes) -> hpke.MLKEM768X25519PublicKey:
    """Return a peer's public key for HPKE, which refuses points of low order by itself.

    Raises:
        KemError: It has not 1,216 bytes, or a coefficient of its ML-KEM half is not reduced (FIPS 203 section 7.2).
    """
    return hpke.MLKEM768X25519PublicKey(*_halves(public_key))


def _halves(public_key: bytes) -> tuple[MLKEM768PublicKey, X25519PublicKey]:
    if len(public_key) != PUBLIC_KEY_LENGTH:
        raise KemError(f"public key of {len(public_key)} bytes, not {PUBLIC_KEY_LENGTH}")
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public_key[:_MLKEM_KEY_LENGTH])
    except ValueError:
        raise KemError("ML-KEM-768 public key with a coefficient that is not reduced") from None
    return mlkem, X25519PublicKey.from_public_bytes(public_key[_MLKEM_KEY_LENGTH:])


def _exchange(private: X25519PrivateKey, public: X25519PublicKey) -> bytes:
    try:
        return private.exchange(public)
    except ValueError:
        raise KemError("X25519 public key of low order") from None


def _combine(mlkem: bytes, x25519: bytes, ephemeral: bytes, public: bytes) -> bytes:
    """X-Wing's combiner. ML-KEM's own ciphertext need not enter: its secret depends on it already."""
    return hashlib.sha3_256(mlkem + x25519 + ephemeral + public + _LABEL).digest()
