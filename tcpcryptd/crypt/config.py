"""The configuration of the CRYPT protocol."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from tcpcryptd.crypto.key_agreement import KeyAgreement, PrivateKey
from tcpcryptd.crypto.key_log import KeyLog
from tcpcryptd.crypto.key_pool import KeyPool
from tcpcryptd.crypto.keyring import KeyRing
from tcpcryptd.crypto.mlkem768_x25519_hpke import MlKemHpkeKey
from tcpcryptd.crypto.suites import (
    PUBLIC_KEY_ALGORITHMS,
    RSA_2048,
    SYMMETRIC_SUITES,
    PublicKeyAlgorithm,
    SymmetricSuite,
)
from tcpcryptd.identity.authenticator import Authenticator


@dataclass(frozen=True)
class CryptConfig:
    """What this host offers and accepts, best first; negotiation never goes below it."""

    rsa_keys: KeyRing = field(default_factory=lambda: KeyRing(RSA_2048.agreement))
    """The source of the RSA key pair for new connections."""
    kem_keys: KeyPool = field(default_factory=lambda: KeyPool(0))
    """The source of key pairs for the hybrid KEM."""
    public_key_algorithms: tuple[PublicKeyAlgorithm, ...] = PUBLIC_KEY_ALGORITHMS
    symmetric_suites: tuple[SymmetricSuite, ...] = SYMMETRIC_SUITES
    symmetric_offer: bytes | None = None
    """The list of specs in INIT1, 4 bytes each; None: made from `symmetric_suites`."""
    whole_packets: bool = False
    """Whether the kernel hands its packets over before it cuts them into segments."""
    authenticator: Authenticator | None = None
    """This host's proof, and the peers that it trusts; None: no identities are in use."""
    key_log: KeyLog | None = None
    """Takes the keys of every connection, if the administrator wants that (docs/keylog.md)."""

    def new_key(self, agreement: KeyAgreement) -> PrivateKey | None:
        """The key pair for a new connection; None: there is none yet."""
        if agreement.post_quantum:
            return MlKemHpkeKey(self.kem_keys.take())
        return agreement.generate() if agreement.ephemeral else self.rsa_keys.current()

    def restricted(self, names: Collection[str]) -> "CryptConfig":
        """A copy with only those algorithms of each kind that are named, and all of a kind of which none is.

        Raises ValueError for a name that is not in `algorithm_names`.
        """
        unknown = sorted(set(names) - set(algorithm_names()))
        if unknown:
            raise ValueError(f"unknown algorithm {unknown[0]!r}; known: {', '.join(algorithm_names())}")
        public_key = tuple(each for each in self.public_key_algorithms if each.agreement.name in names)
        symmetric = tuple(each for each in self.symmetric_suites if each.name in names)
        return replace(
            self,
            public_key_algorithms=public_key or self.public_key_algorithms,
            symmetric_suites=symmetric or self.symmetric_suites,
        )


def public_key_names() -> tuple[str, ...]:
    """The names of all public-key mechanisms, best first."""
    return tuple(each.agreement.name for each in PUBLIC_KEY_ALGORITHMS)


def post_quantum_names() -> tuple[str, ...]:
    """Those that resist a quantum computer; none if OpenSSL has no ML-KEM."""
    return tuple(each.agreement.name for each in PUBLIC_KEY_ALGORITHMS if each.agreement.post_quantum)


def provable_names() -> tuple[str, ...]:
    """Those of them with which hosts can prove who they are."""
    return tuple(each.agreement.name for each in PUBLIC_KEY_ALGORITHMS if each.is_private)


def algorithm_names() -> tuple[str, ...]:
    """The names of all public-key mechanisms, then of all symmetric suites, each best first."""
    return (*public_key_names(), *(each.name for each in SYMMETRIC_SUITES))
