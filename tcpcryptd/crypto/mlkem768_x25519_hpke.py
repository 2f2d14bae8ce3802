"""Key agreement with MLKEM768-X25519 and HPKE in base mode (RFC 9180), in our private range of identifiers.

K_C is a public key of the KEM (1,216 bytes) that is made for one connection. ENC(K_C, N_S) is the KEM's ciphertext
(1,120 bytes), followed by N_S sealed with HKDF-SHA256 and AES-128-GCM (16 + 16 bytes).
"""

from typing import Final

from cryptography.hazmat.primitives import hpke

from tcpcryptd.crypto import mlkem768_x25519 as kem
from tcpcryptd.crypto.hpke_nonce import opened
from tcpcryptd.crypto.key_agreement import NONCE_LENGTH, KeyAgreementError

CIPHERTEXT_LENGTH: Final = kem.CIPHERTEXT_LENGTH + NONCE_LENGTH + 16

_SUITE: Final = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
_INFO: Final = b"tcpcryptd CRYPT MLKEM768-X25519-HPKE 1"


class MlKemHpkeKey:
    """A key pair of the KEM as the exchange's client has it."""

    __slots__ = ("_key",)

    def __init__(self, key: kem.KemKey) -> None:
        self._key = key

    @property
    def public_bytes(self) -> bytes:
        """K_C: the public key, 1,216 bytes."""
        return self._key.public_bytes

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return N_S (16 bytes) from ENC(K_C, N_S) (1,152 bytes).

        Raises:
            KeyAgreementError: The ciphertext is wrong in any way.
        """
        return opened(_SUITE, self._key.for_hpke, _INFO, ciphertext, CIPHERTEXT_LENGTH)


class MlKemHpke:
    """The mechanism with public-key algorithm 0xf1."""

    name = "MLKEM768-X25519-HPKE"
    ephemeral = True
    post_quantum = True

    def generate(self) -> MlKemHpkeKey:
        """Make a new key pair, at once; `key_pool` has some that are ready."""
        return MlKemHpkeKey(kem.generate())

    def encapsulate(self, public_key: bytes, nonce: bytes) -> bytes:
        """Return ENC(K_C, N_S), 1,152 bytes.

        Raises:
            KeyAgreementError: The public key is not acceptable, or the nonce is not of 16 bytes.
        """
        if len(nonce) != NONCE_LENGTH:
            raise KeyAgreementError(f"nonce of {len(nonce)} bytes, not {NONCE_LENGTH}")
        try:
            return _SUITE.encrypt(nonce, kem.load_public_key(public_key), _INFO)
        except ValueError as error:
            message = str(error) if isinstance(error, kem.KemError) else "X25519 public key of low order"
            raise KeyAgreementError(message) from error
