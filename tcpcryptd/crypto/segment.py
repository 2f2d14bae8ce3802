"""What protects the payloads of one direction of a connection."""

from typing import Final, Protocol

MAX_PAYLOAD_LENGTH: Final = 65535
"""Bytes: more than any IP packet leaves for a TCP payload."""


class PayloadTooLong(ValueError):
    """A payload is longer than MAX_PAYLOAD_LENGTH."""


class SegmentProtection(Protocol):
    """Seals or opens segments with one key, of one direction; not for use by several threads at once.

    `sequence` is the wire sequence number of the first payload byte, 64 bits (its high half is 0 with the original's
    suite). `header` is M (16 bytes), `acknowledgment` is A (8 bytes) and `options` is O
    (docs/crypt-option.md section 6). Sealing the same segment twice gives the same result.
    """

    def rest(self) -> None:
        """Drop what the next segment makes again from the key: it takes up to 4 KiB."""
        ...

    def seal(
        self, sequence: int, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes
    ) -> tuple[bytes, bytes]:
        """Return the ciphertext, as long as the payload, and the tag.

        Raises:
            PayloadTooLong: The payload has more than 65535 bytes.
        """
        ...

    def open(
        self, sequence: int, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes, tag: bytes
    ) -> bytes | None:
        """Return the plaintext of an enciphered payload, or None if the segment is not authentic.

        Raises:
            PayloadTooLong: The payload has more than 65535 bytes.
        """
        ...
