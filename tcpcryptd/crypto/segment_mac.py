"""HMAC-SHA1-128 of the CRYPT-option protocol, of which all 20 bytes are sent (spec section 6)."""

import hashlib

TAG_LENGTH = 20

_BLOCK_LENGTH = 64
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


class SegmentMac:
    """HMAC(k, M | O | payload) XOR HMAC(k, A) under one key of at most 64 bytes.

    HMAC (RFC 2104) is built from two SHA-1 states that have absorbed the padded key: copying them costs half of what
    the `hmac` module does for each message.
    """

    __slots__ = ("_acknowledgment", "_acknowledgment_mac", "_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) > _BLOCK_LENGTH:
            raise ValueError(f"MAC key of {len(key)} bytes, more than {_BLOCK_LENGTH}")
        padded = key.ljust(_BLOCK_LENGTH, b"\x00")
        self._inner = hashlib.sha1(padded.translate(_INNER_PAD))  # noqa: S324 - the protocol fixes SHA-1
        self._outer = hashlib.sha1(padded.translate(_OUTER_PAD))  # noqa: S324
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
        inner = self._inner.copy()
        inner.update(head)
        inner.update(tail)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()
