"""What the CRYPT protocol can be told."""

from dataclasses import dataclass, field

from tcpcryptd.crypto.keyring import KeyRing
from tcpcryptd.crypto.suites import (
    PUBLIC_KEY_ALGORITHMS,
    RSA_2048,
    SYMMETRIC_SUITES,
    PublicKeyAlgorithm,
    SymmetricSuite,
)


@dataclass(frozen=True)
class CryptConfig:
    """What this host offers and accepts, best first; negotiation never goes below it."""

    rsa_keys: KeyRing = field(default_factory=lambda: KeyRing(RSA_2048.agreement))
    """Where the RSA key pair of new connections comes from."""
    public_key_algorithms: tuple[PublicKeyAlgorithm, ...] = PUBLIC_KEY_ALGORITHMS
    symmetric_suites: tuple[SymmetricSuite, ...] = SYMMETRIC_SUITES
    symmetric_offer: bytes | None = None
    """The list of specs in INIT1, 4 bytes each; None: made from `symmetric_suites`."""
