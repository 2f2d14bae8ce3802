"""HMAC-SHA1-128 of the CRYPT-option protocol, of which all 20 bytes are sent (docs/crypt-option.md section 6)."""

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

TAG_LENGTH: Final = 20


class SegmentMac:
    """HMAC(k, M | O | payload) XOR HMAC(k, A) under one key."""

    __slots__ = ("_acknowledgment", "_acknowledgment_mac", "_keyed")

    def __init__(self, key: bytes) -> None:
        # Copied for each message, since the key is absorbed once.
        self._keyed = HMAC(key, SHA1())  # noqa: S303 - the protocol fixes SHA-1
        self._acknowledgment: bytes | None = None
        self._acknowledgment_mac = 0

    def compute(self, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes) -> bytes:
        """Return the 20 bytes of the MAC option's body; header is M, acknowledgment A, options O."""
        # A bulk transfer acknowledges the same byte in many segments.
        if acknowledgment != self._acknowledgment:
            self._acknowledgment_mac = int.from_bytes(self._hmac(acknowledgment, b""), "big")
            self._acknowledgment = acknowledgment
        mac = int.from_bytes(self._hmac(header + options if options else header, payload), "big")
        return (mac ^ self._acknowledgment_mac).to_bytes(TAG_LENGTH, "big")

    def _hmac(self, head: bytes, tail: bytes) -> bytes:
        mac = self._keyed.copy()
        mac.update(head)
        mac.update(tail)
        return mac.finalize()
