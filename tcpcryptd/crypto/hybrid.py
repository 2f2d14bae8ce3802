"""MLKEM768-X25519 as a key agreement of tcpcrypt: Pub_A is a public key of the KEM, Pub_B a ciphertext for it.

ES is the KEM's shared secret, 32 bytes (docs/eno.md).
"""

from typing import Final

from tcpcryptd.crypto import mlkem768_x25519 as kem
from tcpcryptd.crypto.key_scheme import EXPERIMENTAL_TEP, InvalidPublicKey, KeyScheme

AGREEMENT: Final = 0x41
"""Its identifier within the experiment."""


class HybridPair:
    """A key pair of the KEM as host A has it."""

    __slots__ = ("_key",)

    def __init__(self, key: kem.KemKey) -> None:
        self._key = key

    @property
    def public(self) -> bytes:
        """Pub_A: 1,216 bytes."""
        return self._key.public_bytes

    def exchange(self, peer_public: bytes) -> bytes:
        """Return ES for Pub_B, 1,120 bytes; a wrong one mostly gives another ES and no error (FIPS 203 section 6.3).

        Raises:
            InvalidPublicKey: Another length, or a point of low order in its X25519 half.
        """
        try:
            return self._key.decapsulate(peer_public)
        except kem.KemError as error:
            raise InvalidPublicKey(str(error)) from None


def _answer(public: bytes) -> tuple[bytes, bytes]:
    try:
        secret, ciphertext = kem.encapsulate(public)
    except kem.KemError as error:
        raise InvalidPublicKey(str(error)) from None
    return ciphertext, secret


MLKEM768_X25519: Final = KeyScheme(
    EXPERIMENTAL_TEP,
    "MLKEM768-X25519",
    kem.PUBLIC_KEY_LENGTH,
    kem.CIPHERTEXT_LENGTH,
    lambda: HybridPair(kem.generate()),
    _answer,
    AGREEMENT,
    post_quantum=True,
)
"""A key pair made now; `key_pool` has some that are ready."""
