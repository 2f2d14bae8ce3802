"""Ed25519 public keys in SSH's forms. A key is 32 raw bytes."""

import hashlib
from base64 import b64decode, b64encode
from typing import Final

from tcpcryptd.crypto.identity import KEY_SIZE
from tcpcryptd.crypto.ssh_keys import SshKeyError
from tcpcryptd.wire.reader import Reader, ReadError

KEY_TYPE: Final = b"ssh-ed25519"
_LENGTH_SIZE: Final = 4


def ssh_string(content: bytes) -> bytes:
    """A field of SSH's messages: its length in 4 bytes, big endian, and itself (RFC 4251 section 5)."""
    return len(content).to_bytes(_LENGTH_SIZE, "big") + content


def take_string(reader: Reader) -> bytes:
    """The next such field; raises ReadError."""
    return reader.take(reader.uint(_LENGTH_SIZE))


def encode_key(key: bytes) -> bytes:
    """The key as it stands, in base64, in files (RFC 8709 section 4)."""
    return ssh_string(KEY_TYPE) + ssh_string(key)


def decode_key(encoded: bytes) -> bytes:
    """The inverse of `encode_key`; raises SshKeyError."""
    try:
        with Reader(encoded) as reader:
            kind, key = take_string(reader), take_string(reader)
    except ReadError as error:
        raise SshKeyError("no Ed25519 public key") from error
    if kind != KEY_TYPE or len(key) != KEY_SIZE:
        raise SshKeyError("no Ed25519 public key")
    return key


def key_line(key: bytes) -> str:
    """`ssh-ed25519` and the key in base64, as in a .pub file and behind the names in known_hosts."""
    return f"{KEY_TYPE.decode()} {b64encode(encode_key(key)).decode()}"


def from_base64(text: str) -> bytes:
    """Bytes in base64, as OpenSSH reads them; raises SshKeyError."""
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise SshKeyError("not base64") from error


def fingerprint(key: bytes) -> str:
    """As `ssh-keygen -l` shows it."""
    return "SHA256:" + b64encode(hashlib.sha256(encode_key(key)).digest()).decode().rstrip("=")
