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

    @property
    def public_key_specs(self) -> bytes:
        """The list for PKCONF. The original reads its first entry only: that is the one it knows (spec section 2)."""
        ordered = sorted(self.public_key_algorithms, key=lambda entry: entry is not RSA_2048)
        return b"".join(entry.spec for entry in ordered)

    @property
    def symmetric_specs(self) -> bytes:
        """The list for INIT1. The original's suite is offered as the original does, cipher and MAC apart."""
        if self.symmetric_offer is not None:
            return self.symmetric_offer
        return b"".join(suite.offer for suite in self.symmetric_suites)
