"""The keys with which a host proves who it is, and the keys of peers that it trusts."""

from collections.abc import Iterable
from typing import Protocol

from tcpcryptd.crypto import identity

MIN_SECRET = 16
"""Bytes of a pre-shared key. It must be random: an attacker who answers one handshake can try guesses offline."""


class Credentials(Protocol):
    """One method of authentication with its keys."""

    method: int
    """Its number in messages."""
    label: bytes
    """Its name in the bytes that are proved."""
    claim: bytes
    """Which key the host claims to have; behind the nonce of its hello."""
    claim_size: int
    proof_size: int

    def prove(self, message: bytes) -> bytes:
        """The proof over a message."""

    def accepts(self, claim: bytes, message: bytes, proof: bytes) -> bool:
        """Whether the peer's claim is trusted and proved."""


class PresharedKey:
    """A secret that both hosts have. Raises ValueError when it is shorter than 16 bytes."""

    method = 1
    label = b"psk"
    claim = b""
    claim_size = 0
    proof_size = identity.TAG_SIZE

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_SECRET:
            raise ValueError(f"a pre-shared key has at least {MIN_SECRET} random bytes")
        self._secret = secret

    def prove(self, message: bytes) -> bytes:
        """HMAC-SHA256."""
        return identity.tag(self._secret, message)

    def accepts(self, claim: bytes, message: bytes, proof: bytes) -> bool:
        """Whether the peer has the secret."""
        return identity.is_tagged(self._secret, message, proof)


class Ed25519Key:
    """This host's key pair, and the public keys of the peers that it believes.

    Keys are raw, 32 bytes. Raises ValueError for what is not a key.
    """

    method = 2
    label = b"ed25519"
    claim_size = identity.KEY_SIZE
    proof_size = identity.SIGNATURE_SIZE

    def __init__(self, private_key: bytes, trusted: Iterable[bytes]) -> None:
        self._private_key = private_key
        self.claim = identity.public_key(private_key)
        self._trusted = frozenset(trusted)
        if any(len(key) != identity.KEY_SIZE for key in self._trusted):
            raise ValueError(f"a public key has {identity.KEY_SIZE} bytes")

    def prove(self, message: bytes) -> bytes:
        """The signature."""
        return identity.sign(self._private_key, message)

    def accepts(self, claim: bytes, message: bytes, proof: bytes) -> bool:
        """Whether the peer's key is a trusted one and has signed."""
        return claim in self._trusted and identity.is_signed(claim, message, proof)
