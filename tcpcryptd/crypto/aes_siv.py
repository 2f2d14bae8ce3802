"""AES-SIV (RFC 5297, AEAD_AES_SIV_CMAC_256) in place, in our private range of identifiers.

There is no nonce: the associated data, M | A | O as one string, name the segment. The tag, which the RFC puts before
the ciphertext, travels in the MAC option. docs/suites.md says why that is safe, and for how much.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from tcpcryptd.crypto.segment import MAX_PAYLOAD_LENGTH, PayloadTooLong

KEY_LENGTH: Final = 32
"""Two keys of 16 bytes: for CMAC, and for the cipher."""
TAG_LENGTH: Final = 16


class SivProtection:
    """Seals with the first 32 bytes of the encryption key; the MAC key is not used."""

    __slots__ = ("_aead", "_key")

    def __init__(self, encryption_key: bytes, mac_key: bytes) -> None:
        if len(encryption_key) < KEY_LENGTH:
            raise ValueError(f"AES-SIV key material of {len(encryption_key)} bytes")
        self._key = encryption_key[:KEY_LENGTH]
        self._aead: AESSIV | None = AESSIV(self._key)

    def rest(self) -> None:
        """See `SegmentProtection.rest`."""
        self._aead = None

    def _ready(self) -> AESSIV:
        aead = self._aead
        if aead is None:
            aead = self._aead = AESSIV(self._key)
        return aead

    def seal(
        self, sequence: int, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes
    ) -> tuple[bytes, bytes]:
        """Return the ciphertext and its tag of 16 bytes; see `SegmentProtection.seal`."""
        if len(payload) > MAX_PAYLOAD_LENGTH:
            raise PayloadTooLong(f"payload of {len(payload)} bytes")
        sealed = self._ready().encrypt(payload, [header + acknowledgment + options])
        return sealed[TAG_LENGTH:], sealed[:TAG_LENGTH]

    def open(
        self, sequence: int, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes, tag: bytes
    ) -> bytes | None:
        """Return the plaintext, or None if the tag is wrong; see `SegmentProtection.open`."""
        if len(payload) > MAX_PAYLOAD_LENGTH:
            raise PayloadTooLong(f"payload of {len(payload)} bytes")
        # A tag of another length would move the border between tag and ciphertext.
        if len(tag) != TAG_LENGTH:
            return None
        try:
            return self._ready().decrypt(tag + payload, [header + acknowledgment + options])
        except InvalidTag:
            return None
