"""The key-agreement schemes of tcpcrypt (RFC 8548 section 5), one for each of its TEP identifiers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_PREFIX_LENGTH: Final = 2
_COMPRESSED: Final = (0x02, 0x03)


class InvalidPublicKey(ValueError):
    """A peer's public key fails validation; the connection must be aborted (RFC 8548 section 3.3)."""


class EcdhePrivate(Protocol):
    """An ephemeral key pair."""

    @property
    def public(self) -> bytes:
        """Pub_A or Pub_B as it stands in Init1 or Init2."""
        ...

    def exchange(self, peer_public: bytes) -> bytes:
        """Return the ephemeral secret ES for the peer's Pub, as it stands in its Init message.

        Raises:
            InvalidPublicKey: The peer's key has another length or format, is not a point of the curve, or makes the
                shared secret zero.
        """
        ...


class MontgomeryPrivate:
    """A key pair for X25519 or X448; Pub is the u coordinate alone, little endian, 32 or 56 bytes (RFC 7748)."""

    __slots__ = ("_exchange", "_public")

    def __init__(self, key: X25519PrivateKey | X448PrivateKey) -> None:
        self._public = key.public_key().public_bytes_raw()
        self._exchange: Callable[[bytes], bytes]
        if isinstance(key, X25519PrivateKey):
            self._exchange = lambda peer: key.exchange(X25519PublicKey.from_public_bytes(peer))
        else:
            self._exchange = lambda peer: key.exchange(X448PublicKey.from_public_bytes(peer))

    @property
    def public(self) -> bytes:
        """Pub: 32 or 56 bytes."""
        return self._public

    def exchange(self, peer_public: bytes) -> bytes:
        """Return ES, 32 or 56 bytes, little endian; see `EcdhePrivate.exchange`."""
        if len(peer_public) != len(self._public):
            raise InvalidPublicKey(f"public key of {len(peer_public)} bytes, not {len(self._public)}")
        try:
            # Refuses the all-zero secret (RFC 7748 section 6).
            return self._exchange(peer_public)
        except ValueError:
            raise InvalidPublicKey("public key of low order") from None


class NistPrivate:
    """A key pair for P-256 or P-521; Pub is a 2-byte length, then the compressed point (IEEE 1363 section E.2.3.2).

    The figure of RFC 8548 section 5 numbers the bytes of the whole up to L - 1, so that the length L that we send
    counts its own two bytes. The text can be read to mean the point alone; a peer's length may be either, since the
    curve says how long a compressed point is.
    """

    __slots__ = ("_key", "_public")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self._public = (_PREFIX_LENGTH + len(point)).to_bytes(_PREFIX_LENGTH, "big") + point

    @property
    def public(self) -> bytes:
        """Pub: 35 or 69 bytes."""
        return self._public

    def exchange(self, peer_public: bytes) -> bytes:
        """Return ES, the shared point's x coordinate, big endian, 32 or 66 bytes; see `EcdhePrivate.exchange`."""
        length = len(self._public)
        point = peer_public[_PREFIX_LENGTH:]
        if len(peer_public) != length:
            raise InvalidPublicKey(f"public key of {len(peer_public)} bytes, not {length}")
        pubkey_length = int.from_bytes(peer_public[:_PREFIX_LENGTH], "big")
        if pubkey_length not in (length, len(point)):
            raise InvalidPublicKey(f"public key says that its length is {pubkey_length}")
        if point[0] not in _COMPRESSED:
            raise InvalidPublicKey("public key is not a compressed point")
        try:
            # A cofactor of 1 makes this all of IEEE 1363 A.16.10: coordinate in the field, point on the curve.
            peer = ec.EllipticCurvePublicKey.from_encoded_point(self._key.curve, point)
        except ValueError:
            raise InvalidPublicKey("public key is not on the curve") from None
        return self._key.exchange(ec.ECDH(), peer)


@dataclass(frozen=True, slots=True)
class EcdheScheme:
    """A key-agreement scheme.

    Attributes:
        tep: TEP identifier, 7 bits (RFC 8548 section 7).
        name: As shown to people.
        public_length: Bytes of Pub in Init1 and Init2. It is the same for every key: points must be compressed.
        generate: Makes a new key pair.
    """

    tep: int
    name: str
    public_length: int
    generate: Callable[[], EcdhePrivate]


X25519: Final = EcdheScheme(0x23, "ECDHE-Curve25519", 32, lambda: MontgomeryPrivate(X25519PrivateKey.generate()))
X448: Final = EcdheScheme(0x24, "ECDHE-Curve448", 56, lambda: MontgomeryPrivate(X448PrivateKey.generate()))
P256: Final = EcdheScheme(0x21, "ECDHE-P256", 35, lambda: NistPrivate(ec.generate_private_key(ec.SECP256R1())))
P521: Final = EcdheScheme(0x22, "ECDHE-P521", 69, lambda: NistPrivate(ec.generate_private_key(ec.SECP521R1())))
ECDHE_SCHEMES: Final = (X25519, X448, P256, P521)
"""Best first."""
