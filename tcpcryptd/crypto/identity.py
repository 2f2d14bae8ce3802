"""What hosts prove who they are with: Ed25519 signatures (RFC 8032) and HMAC-SHA256 (RFC 2104). Keys are raw bytes."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_SIZE: Final = 32
"""Bytes of a private key, and of a public key."""
SIGNATURE_SIZE: Final = 64
TAG_SIZE: Final = 32


def generate_private_key() -> bytes:
    """A new Ed25519 private key."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_key(private_key: bytes) -> bytes:
    """The public key of a private key; raises ValueError when that is not 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def signer(private_key: bytes) -> Callable[[bytes], bytes]:
    """Makes Ed25519 signatures, each in half the time of `sign`; raises ValueError when the key is not 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(private_key).sign


def sign(private_key: bytes, message: bytes) -> bytes:
    """The Ed25519 signature; raises ValueError when the key is not 32 bytes."""
    return signer(private_key)(message)


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is that of a public key's owner; False for what is no key."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def tag(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256."""
    return hmac.new(key, message, hashlib.sha256).digest()


def is_tagged(key: bytes, message: bytes, claimed: bytes) -> bool:
    """Whether a tag is right, in constant time."""
    return hmac.compare_digest(tag(key, message), claimed)
