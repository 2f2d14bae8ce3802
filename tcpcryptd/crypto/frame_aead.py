"""The AEAD algorithms that protect the frames of tcpcrypt (RFC 8548 sections 3.6 and 6)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

NONCE_LENGTH: Final = 12
"""ae_nonce_len, bytes, of every algorithm."""
TAG_LENGTH: Final = 16
"""Bytes by which a ciphertext is longer than its plaintext."""

_OFFSET_BITS: Final = 64

Buffer = bytes | bytearray | memoryview


class OffsetTooLarge(ValueError):
    """A frame's offset in the datastream does not fit 64 bits: frames may not be sent there (RFC 8548 section 3.6)."""


class _Aead(Protocol):
    """The interface of RFC 5116 section 2.1."""

    def encrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, /) -> bytes: ...

    def encrypt_into(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, buf: Buffer, /) -> int: ...

    def decrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, /) -> bytes: ...


class FrameProtection:
    """Seals or opens frames with one traffic key, k_ab[j] or k_ba[j].

    `offset` is where the frame begins (at its control byte) in the datastream of its direction, in bytes from 0.
    `header` is the frame's control byte and clen, 3 bytes, which are the associated data. One key must never seal
    different frames at one offset: that would repeat a nonce.
    """

    __slots__ = ("_aead", "_cipher", "_key", "_nonce_randomizer")

    def __init__(self, cipher: Callable[[bytes], _Aead], key: bytes, nonce_randomizer: bytes) -> None:
        """Take what makes the cipher of a key, K, and NR, 12 bytes."""
        self._cipher = cipher
        self._key = key
        self._aead: _Aead | None = cipher(key)
        self._nonce_randomizer = int.from_bytes(nonce_randomizer, "big")

    def rest(self) -> None:
        """Drop what the next frame makes again from the key."""
        self._aead = None

    def _ready(self) -> _Aead:
        aead = self._aead
        if aead is None:
            aead = self._aead = self._cipher(self._key)
        return aead

    def seal(self, offset: int, header: Buffer, plaintext: Buffer) -> bytes:
        """Return the ciphertext, 16 bytes longer than the plaintext.

        Raises:
            OffsetTooLarge: offset is not from 0 to 2^64 - 1.
        """
        return self._ready().encrypt(self._nonce(offset), plaintext, header)

    def seal_into(self, offset: int, header: Buffer, plaintext: Buffer, place: memoryview) -> None:
        """Write the ciphertext to a place of its length.

        Raises:
            OffsetTooLarge: offset is not from 0 to 2^64 - 1.
        """
        self._ready().encrypt_into(self._nonce(offset), plaintext, header, place)

    def _nonce(self, offset: int) -> bytes:
        """N = frame_ID XOR NR (section 3.6); the frame ID is the offset, padded with zeros on the left (4.2.3)."""
        if offset >> _OFFSET_BITS:
            raise OffsetTooLarge(f"frame at offset {offset}")
        return (self._nonce_randomizer ^ offset).to_bytes(NONCE_LENGTH, "big")

    def open(self, offset: int, header: Buffer, ciphertext: Buffer) -> bytes | None:
        """Return the plaintext of a ciphertext with its tag, or None if the frame is not authentic.

        Raises:
            OffsetTooLarge: offset is not from 0 to 2^64 - 1.
        """
        nonce = self._nonce(offset)
        try:
            return self._ready().decrypt(nonce, ciphertext, header)
        except InvalidTag:
            return None


@dataclass(frozen=True, slots=True)
class FrameAead:
    """An AEAD algorithm.

    `rekey_bytes` is 2^36 for each. In the worst case, frames without data, AES-GCM runs its block cipher twice for 20
    bytes on the wire, so that a key sees s < 2^32.8 blocks. Telling it from a random function then succeeds with
    probability below s^2 / 2^129 < 2^-63, where RFC 8446 section 5.5 settles for 2^-57; the key's length plays no part
    in that. ChaCha20-Poly1305 has no such limit below its nonces; it changes keys as often so that old ones leave
    memory as soon (RFC 8548 section 3.8). Forgeries count apart (RFC 9001 section 6.6): Poly1305, the weaker here,
    gives way with probability 8 (n + 2) / 2^106 for n blocks of 16 bytes, hence less than 2^-105 for each byte that a
    forger sends, and reaching 2^-57 takes more than 2^48 bytes in one connection.

    Attributes:
        name: As shown to people.
        identifier: sym_cipher in Init1 and Init2, 16 bits (section 7, Table 5).
        key_length: ae_key_len, bytes.
        rekey_bytes: Bytes of the datastream in one direction after which we replace the keys.
        cipher: Makes the cipher of a key K.
    """

    name: str
    identifier: int
    key_length: int
    rekey_bytes: int
    cipher: Callable[[bytes], _Aead]

    @property
    def traffic_key_length(self) -> int:
        """Bytes of k_ab[j] and k_ba[j]: ae_key_len + ae_nonce_len."""
        return self.key_length + NONCE_LENGTH

    def protection(self, traffic_key: bytes) -> FrameProtection:
        """Return the protection of one direction and generation; a traffic key is K | NR (section 3.6, Figure 4).

        Raises:
            ValueError: The traffic key has another length.
        """
        if len(traffic_key) != self.traffic_key_length:
            raise ValueError(f"traffic key of {len(traffic_key)} bytes, not {self.traffic_key_length}")
        return FrameProtection(self.cipher, traffic_key[: self.key_length], traffic_key[self.key_length :])


AES_128_GCM: Final = FrameAead("AES-128-GCM", 0x0001, 16, 2**36, AESGCM)
AES_256_GCM: Final = FrameAead("AES-256-GCM", 0x0002, 32, 2**36, AESGCM)
CHACHA20_POLY1305: Final = FrameAead("ChaCha20-Poly1305", 0x0010, 32, 2**36, ChaCha20Poly1305)
FRAME_AEADS: Final = (AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305)
"""Best first: as strong as the key agreement, then in order of speed where the processor has AES instructions."""
