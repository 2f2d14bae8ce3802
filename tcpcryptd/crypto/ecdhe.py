"""The key-agreement schemes of tcpcrypt (RFC 8548 section 5), one for each of its TEP identifiers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tcpcryptd.crypto.key_scheme import EXPERIMENTAL_TEP, InvalidPublicKey, KeyPair, KeyScheme

_PREFIX_LENGTH: Final = 2
_COMPRESSED: Final = (0x02, 0x03)


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
        """Return ES, 32 or 56 bytes, little endian; see `KeyPair.exchange`."""
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
        """Return ES, the shared point's x coordinate, big endian, 32 or 66 bytes; see `KeyPair.exchange`."""
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


def _scheme(tep: int, name: str, public_length: int, generate: Callable[[], KeyPair]) -> KeyScheme:
    def answer(public: bytes) -> tuple[bytes, bytes]:
        key = generate()
        return key.public, key.exchange(public)

    return KeyScheme(tep, name, public_length, public_length, generate, answer)


X25519: Final = _scheme(0x23, "ECDHE-Curve25519", 32, lambda: MontgomeryPrivate(X25519PrivateKey.generate()))
X448: Final = _scheme(0x24, "ECDHE-Curve448", 56, lambda: MontgomeryPrivate(X448PrivateKey.generate()))
P256: Final = _scheme(0x21, "ECDHE-P256", 35, lambda: NistPrivate(ec.generate_private_key(ec.SECP256R1())))
P521: Final = _scheme(0x22, "ECDHE-P521", 69, lambda: NistPrivate(ec.generate_private_key(ec.SECP521R1())))
ECDHE_SCHEMES: Final = (X25519, X448, P256, P521)
"""Best first."""
X25519_EXTENSIBLE: Final = replace(X25519, tep=EXPERIMENTAL_TEP, agreement=0x23)
"""The first one within the experiment, where an extension field follows Pub (docs/eno.md)."""
