"""AES-256-GCM-SIV (RFC 8452) in place, in our private range of identifiers.

The nonce is the 64-bit wire sequence number, big endian, and 4 zero bytes. The associated data are M | A | O. The tag
travels in the MAC option. docs/suites.md says why repeating a nonce in a retransmission is safe.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from tcpcryptd.crypto.segment import MAX_PAYLOAD_LENGTH, PayloadTooLong

KEY_LENGTH: Final = 32
TAG_LENGTH: Final = 16

_NONCE_END: Final = bytes(4)


class GcmSivProtection:
    """Seals with the first 32 bytes of the encryption key; the MAC key is not used, the mode makes its own."""

    __slots__ = ("_aead", "_key")

    def __init__(self, encryption_key: bytes, mac_key: bytes) -> None:
        if len(encryption_key) < KEY_LENGTH:
            raise ValueError(f"AES-256 key material of {len(encryption_key)} bytes")
        self._key = encryption_key[:KEY_LENGTH]
        self._aead: AESGCMSIV | None = AESGCMSIV(self._key)

    def rest(self) -> None:
        """See `SegmentProtection.rest`."""
        self._aead = None

    def _ready(self) -> AESGCMSIV:
        aead = self._aead
        if aead is None:
            aead = self._aead = AESGCMSIV(self._key)
        return aead

    def seal(
        self, sequence: int, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes
    ) -> tuple[bytes, bytes]:
        """Return the ciphertext and its tag of 16 bytes; see `SegmentProtection.seal`."""
        if len(payload) > MAX_PAYLOAD_LENGTH:
            raise PayloadTooLong(f"payload of {len(payload)} bytes")
        sealed = self._ready().encrypt(
            sequence.to_bytes(8, "big") + _NONCE_END, payload, header + acknowledgment + options
        )
        return sealed[:-TAG_LENGTH], sealed[-TAG_LENGTH:]

    def open(
        self, sequence: int, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes, tag: bytes
    ) -> bytes | None:
        """Return the plaintext, or None if the tag is wrong; see `SegmentProtection.open`."""
        if len(payload) > MAX_PAYLOAD_LENGTH:
            raise PayloadTooLong(f"payload of {len(payload)} bytes")
        # A tag of another length would move the border between ciphertext and tag.
        if len(tag) != TAG_LENGTH:
            return None
        try:
            return self._ready().decrypt(
                sequence.to_bytes(8, "big") + _NONCE_END, payload + tag, header + acknowledgment + options
            )
        except InvalidTag:
            return None
