"""AES128-CTR-SEQIV with HMAC-SHA1, the suite of the original daemon (docs/crypt-option.md sections 5 and 6)."""

from hmac import compare_digest

from tcpcryptd.crypto import aes_ctr_seqiv, segment_mac


class CtrHmacProtection:
    """Encrypts, then authenticates; the cipher uses the first 16 bytes of its key, the MAC the whole of its own."""

    __slots__ = ("_cipher", "_encryption_key", "_mac", "_mac_key")

    def __init__(self, encryption_key: bytes, mac_key: bytes) -> None:
        self._encryption_key, self._mac_key = encryption_key[: aes_ctr_seqiv.KEY_LENGTH], mac_key
        self._cipher: aes_ctr_seqiv.AesCtrSeqIv | None = aes_ctr_seqiv.AesCtrSeqIv(self._encryption_key)
        self._mac: segment_mac.SegmentMac | None = segment_mac.SegmentMac(mac_key)

    def rest(self) -> None:
        """See `SegmentProtection.rest`."""
        self._cipher = self._mac = None

    def _apply(self, sequence: int, data: bytes) -> bytes:
        if self._cipher is None:
            self._cipher = aes_ctr_seqiv.AesCtrSeqIv(self._encryption_key)
        return self._cipher.apply(sequence, data)

    def _compute_mac(self, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes) -> bytes:
        if self._mac is None:
            self._mac = segment_mac.SegmentMac(self._mac_key)
        return self._mac.compute(header, acknowledgment, options, payload)

    def seal(
        self, sequence: int, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes
    ) -> tuple[bytes, bytes]:
        """Return the ciphertext and its MAC of 20 bytes; see `SegmentProtection.seal`."""
        ciphertext = self._apply(sequence, payload)
        return ciphertext, self._compute_mac(header, acknowledgment, options, ciphertext)

    def open(
        self, sequence: int, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes, tag: bytes
    ) -> bytes | None:
        """Return the plaintext, or None if the MAC is wrong; see `SegmentProtection.open`."""
        if not compare_digest(self._compute_mac(header, acknowledgment, options, payload), tag):
            return None
        return self._apply(sequence, payload)
