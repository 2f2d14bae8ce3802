"""The INIT1 and INIT2 messages, and the specs in them and in PKCONF (docs/crypt-option.md section 2)."""

from dataclasses import dataclass
from typing import Final

from tcpcryptd.crypt.constants import (
    INIT1_OPERATION,
    INIT2_OPERATION,
    NONCE_SIZE,
    PUBLIC_KEY_SPEC_SIZE,
    SYMMETRIC_SPEC_SIZE,
)
from tcpcryptd.wire.reader import Reader, ReadError

_FIELD_LENGTH: Final = 2
_INIT1_FIXED: Final = 8 + NONCE_SIZE + 1 + PUBLIC_KEY_SPEC_SIZE
_INIT2_FIXED: Final = 4 + SYMMETRIC_SPEC_SIZE


class MessageError(ValueError):
    """A handshake message or list of specs that does not have the form that the protocol gives it."""


@dataclass(frozen=True, slots=True)
class Init1:
    """INIT1, from the client of the exchange: its suites, nonce and public key."""

    symmetric_specs: bytes
    """4 bytes each."""
    nonce: bytes
    public_key_spec: bytes
    """3 bytes, out of the peer's PKCONF."""
    public_key: bytes
    extension_field: bytes = b""
    """With its length (tcpcryptd.wire.extension); empty: there is none."""

    def encode(self) -> bytes:
        """The message as it stands in a segment's payload."""
        return b"".join(
            (
                _uint16(INIT1_OPERATION),
                _uint16(len(self.symmetric_specs) // SYMMETRIC_SPEC_SIZE),
                _uint16(len(self.nonce)),
                _uint16(len(self.public_key)),
                self.symmetric_specs,
                self.nonce,
                b"\0",
                self.public_key_spec,
                self.public_key,
                self.extension_field,
            )
        )

    @classmethod
    def decode(cls, message: bytes) -> "Init1":
        """Raises MessageError for anything that is not exactly one INIT1."""
        try:
            with Reader(message) as reader:
                _expect(reader, INIT1_OPERATION)
                specs, nonce, key = reader.uint(2), reader.uint(2), reader.uint(2)
                decoded = cls(
                    reader.take(specs * SYMMETRIC_SPEC_SIZE),
                    reader.take(nonce),
                    (reader.uint(1), reader.take(PUBLIC_KEY_SPEC_SIZE))[1],
                    reader.take(key),
                    _extension_field(reader),
                )
        except ReadError as error:
            raise MessageError(f"INIT1: {error}") from error
        if nonce != NONCE_SIZE or not specs or not key:
            raise MessageError(f"INIT1 with {specs} specs, a nonce of {nonce} and a key of {key} bytes")
        return decoded


@dataclass(frozen=True, slots=True)
class Init2:
    """INIT2, from the server of the exchange: its choice, and its nonce under the client's key."""

    symmetric_spec: bytes
    ciphertext: bytes
    extension_field: bytes = b""
    """As in INIT1."""

    def encode(self) -> bytes:
        """The message as it stands in a segment's payload."""
        head = _uint16(INIT2_OPERATION), _uint16(len(self.ciphertext))
        return b"".join((*head, self.symmetric_spec, self.ciphertext, self.extension_field))

    @classmethod
    def decode(cls, message: bytes) -> "Init2":
        """Raises MessageError for anything that is not exactly one INIT2."""
        try:
            with Reader(message) as reader:
                _expect(reader, INIT2_OPERATION)
                length = reader.uint(2)
                return cls(reader.take(SYMMETRIC_SPEC_SIZE), reader.take(length), _extension_field(reader))
        except ReadError as error:
            raise MessageError(f"INIT2: {error}") from error


def _extension_field(reader: Reader) -> bytes:
    """What follows, which is a whole field or nothing."""
    if not reader.remaining:
        return b""
    length = reader.uint(_FIELD_LENGTH)
    return _uint16(length) + reader.take(length)


def init1_length(symmetric_specs: int, public_key: int) -> int:
    """Bytes of an INIT1 with so many bytes of specs and of key, without extensions."""
    return _INIT1_FIXED + symmetric_specs + public_key


def init2_length(ciphertext: int) -> int:
    """Bytes of an INIT2 with so many bytes of ciphertext."""
    return _INIT2_FIXED + ciphertext


def split_specs(specs: bytes, size: int) -> list[bytes]:
    """A list of specs cut into its entries; raises MessageError when it does not divide."""
    if len(specs) % size:
        raise MessageError(f"{len(specs)} bytes of specs of {size}")
    return [specs[start : start + size] for start in range(0, len(specs), size)]


def _uint16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _expect(reader: Reader, operation: int) -> None:
    found = reader.uint(2)
    if found != operation:
        raise MessageError(f"operation {found} in the place of {operation}")
