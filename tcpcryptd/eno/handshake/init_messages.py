"""The Init1 and Init2 messages at the start of the streams of host A and host B (RFC 8548 sections 3.3 and 4.1).

Integers are big endian. PRK takes in the messages as they were sent, so that reading one gives its bytes back, too.
Those of the experiment have an extension field behind Pub (`extension`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from tcpcryptd.crypto.tcpcrypt_schedule import NONCE_LENGTH
from tcpcryptd.eno.constants import INIT1_MAGIC, INIT2_MAGIC
from tcpcryptd.identity.identification import IDENTITY
from tcpcryptd.wire import extension
from tcpcryptd.wire.extension import ExtensionError
from tcpcryptd.wire.reader import Reader, ReadError

MAX_INIT_LENGTH: Final = 8192
"""Longest message that is accepted, a limit of ours: one without ignored bytes has at most 5,865."""

_KNOWN: Final = frozenset((IDENTITY,))
_MAGIC_SIZE: Final = 4
_PREFIX_SIZE: Final = 8
"""Magic and message_len."""
_CIPHER_SIZE: Final = 2
_MAX_CIPHERS: Final = 255


class InitMessageError(ValueError):
    """A stream that does not begin with the Init message that belongs there; the connection must be aborted."""


def message_length(stream: bytes, magic: int) -> int | None:
    """The length in bytes of the Init message that `stream` begins with; None before its first 8 bytes are there.

    Raises InitMessageError for another magic, as soon as one byte of it is wrong, and for a length that is less than
    those 8 bytes or over MAX_INIT_LENGTH.
    """
    expected = magic.to_bytes(_MAGIC_SIZE, "big")
    found = stream[:_MAGIC_SIZE]
    if found != expected[: len(found)]:
        raise InitMessageError(f"{found.hex()} in the place of {expected.hex()}")
    if len(stream) < _PREFIX_SIZE:
        return None
    length = int.from_bytes(stream[_MAGIC_SIZE:_PREFIX_SIZE], "big")
    if not _PREFIX_SIZE <= length <= MAX_INIT_LENGTH:
        raise InitMessageError(f"message of {length} bytes")
    return length


def looks_like_init1(payload: bytes) -> bool:
    """Whether a payload is the beginning of an Init1."""
    try:
        return message_length(payload, INIT1_MAGIC) is not None
    except InitMessageError:
        return False


@dataclass(frozen=True, slots=True)
class Init1:
    """Init1, from host A: the AEAD algorithms that it accepts, its nonce and its ephemeral public key."""

    ciphers: tuple[int, ...]
    """sym_cipher_list: identifiers of 16 bits, 1 to 255 of them."""
    nonce: bytes
    """N_A, 32 bytes."""
    public: bytes
    """Pub_A, with its length prefix if the TEP gives it one (RFC 8548 section 5)."""
    extensions: Mapping[int, bytes] | None = None
    """Those that are known here; None with TEPs that have no extension field."""

    def encode(self) -> bytes:
        """The message; raises InitMessageError when the number of ciphers or the nonce's length is impossible."""
        if not 0 < len(self.ciphers) <= _MAX_CIPHERS:
            raise InitMessageError(f"{len(self.ciphers)} ciphers")
        ciphers = b"".join(map(_uint16, self.ciphers))
        return _encode(INIT1_MAGIC, bytes((len(self.ciphers),)) + ciphers, self.nonce, self.public, self.extensions)

    @classmethod
    def read(cls, stream: bytes, public_length: int, *, extensible: bool = False) -> tuple[Self, bytes] | None:
        """Host A's stream so far as a message and the message's bytes; None while it is not whole.

        `public_length` is that of Pub_A in bytes, which the TEP decides, and whether it is `extensible`. What
        follows up to message_len is ignored. Raises InitMessageError, as early as the stream shows that no Init1 can
        come of it.
        """
        message = _whole(stream, INIT1_MAGIC, 1 + _CIPHER_SIZE + NONCE_LENGTH + public_length)
        if message is None:
            return None
        reader = Reader(message[_PREFIX_SIZE:])
        try:
            count = reader.uint(1)
            ciphers = tuple(reader.uint(_CIPHER_SIZE) for _ in range(count))
            nonce, public = reader.take(NONCE_LENGTH), reader.take(public_length)
            decoded = cls(ciphers, nonce, public, extension.read(reader, _KNOWN) if extensible else None)
        except (ReadError, ExtensionError) as error:
            raise InitMessageError(f"Init1: {error}") from error
        if not count:
            raise InitMessageError("Init1 without ciphers")
        return decoded, message

    def select(self, preferred: Sequence[int]) -> int | None:
        """Host B's choice: the first of its own list, best first, that this message offers."""
        return next((cipher for cipher in preferred if cipher in self.ciphers), None)


@dataclass(frozen=True, slots=True)
class Init2:
    """Init2, from host B: the AEAD algorithm of its choice, its nonce and its ephemeral public key."""

    cipher: int
    """sym_cipher, 16 bits. Host A must abort when its Init1 does not have it: `answers`."""
    nonce: bytes
    """N_B, 32 bytes."""
    public: bytes
    """Pub_B, with its length prefix if the TEP gives it one (RFC 8548 section 5)."""
    extensions: Mapping[int, bytes] | None = None
    """As in Init1."""

    def encode(self) -> bytes:
        """The message; raises InitMessageError when the nonce's length is impossible."""
        return _encode(INIT2_MAGIC, _uint16(self.cipher), self.nonce, self.public, self.extensions)

    @classmethod
    def read(cls, stream: bytes, public_length: int, *, extensible: bool = False) -> tuple[Self, bytes] | None:
        """Host B's stream so far as a message and the message's bytes; None while it is not whole.

        `public_length` is that of Pub_B in bytes, which the TEP decides, and whether it is `extensible`. What
        follows up to message_len is ignored. Raises InitMessageError, as early as the stream shows that no Init2 can
        come of it.
        """
        message = _whole(stream, INIT2_MAGIC, _CIPHER_SIZE + NONCE_LENGTH + public_length)
        if message is None:
            return None
        reader = Reader(message[_PREFIX_SIZE:])
        cipher, nonce, public = reader.uint(_CIPHER_SIZE), reader.take(NONCE_LENGTH), reader.take(public_length)
        try:
            return cls(cipher, nonce, public, extension.read(reader, _KNOWN) if extensible else None), message
        except ExtensionError as error:
            raise InitMessageError(f"Init2: {error}") from error

    def answers(self, init1: Init1) -> bool:
        """The cipher is one that Init1 offers (RFC 8548 section 3.3)."""
        return self.cipher in init1.ciphers


def _whole(stream: bytes, magic: int, minimum: int) -> bytes | None:
    length = message_length(stream, magic)
    if length is None:
        return None
    if length < _PREFIX_SIZE + minimum:
        raise InitMessageError(f"message of {length} bytes, which needs {_PREFIX_SIZE + minimum}")
    return stream[:length] if len(stream) >= length else None


def _encode(magic: int, ciphers: bytes, nonce: bytes, public: bytes, extensions: Mapping[int, bytes] | None) -> bytes:
    if len(nonce) != NONCE_LENGTH:
        raise InitMessageError(f"nonce of {len(nonce)} bytes")
    body = ciphers + nonce + public + (b"" if extensions is None else extension.encode(extensions))
    length = _PREFIX_SIZE + len(body)
    return magic.to_bytes(_MAGIC_SIZE, "big") + length.to_bytes(_PREFIX_SIZE - _MAGIC_SIZE, "big") + body


def _uint16(value: int) -> bytes:
    return value.to_bytes(_CIPHER_SIZE, "big")
