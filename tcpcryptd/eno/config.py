"""The configuration of TCP-ENO and tcpcrypt."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final

from tcpcryptd.crypto import mlkem768_x25519 as kem
from tcpcryptd.crypto.ecdhe import ECDHE_SCHEMES, X25519_EXTENSIBLE
from tcpcryptd.crypto.frame_aead import FRAME_AEADS, FrameAead
from tcpcryptd.crypto.hybrid import MLKEM768_X25519
from tcpcryptd.crypto.key_log import KeyLog
from tcpcryptd.crypto.key_pool import KeyPool
from tcpcryptd.crypto.key_scheme import KeyScheme
from tcpcryptd.eno.constants import MAX_RESUMPTION_NONCE
from tcpcryptd.eno.cutting import Cutting
from tcpcryptd.eno.limits import DEFAULT_LIMITS, Limits
from tcpcryptd.identity.authenticator import Authenticator

SCHEMES: Final = (MLKEM768_X25519, *ECDHE_SCHEMES) if kem.is_available() else ECDHE_SCHEMES
"""All key-agreement schemes that this host has, best first."""


@dataclass(frozen=True)
class EnoConfig:
    """What this host offers and accepts, best first; negotiation never goes below it."""

    schemes: tuple[KeyScheme, ...] = SCHEMES
    aeads: tuple[FrameAead, ...] = FRAME_AEADS
    resumption_nonce_length: int = MAX_RESUMPTION_NONCE
    """Bytes, 0 to 8 (RFC 8548 section 3.5). Less than 8 is for hosts whose memory is never copied or restored."""
    limits: Limits = DEFAULT_LIMITS
    kem_keys: KeyPool = field(default_factory=lambda: KeyPool(0))
    """The source of key pairs for the hybrid KEM."""
    authenticator: Authenticator | None = None
    """This host's proof, and the peers that it trusts; None: no identities are in use."""
    cutting: Cutting = field(default_factory=Cutting)
    key_log: KeyLog | None = None
    """Takes the keys of every connection, if the administrator wants that (docs/keylog.md)."""

    def with_identities(self, authenticator: Authenticator) -> "EnoConfig":
        """A copy in which hosts prove who they are, also with the key agreement that is not post-quantum."""
        schemes = [*self.schemes]
        if X25519_EXTENSIBLE not in schemes:
            schemes.insert(sum(each.is_extensible for each in schemes), X25519_EXTENSIBLE)
        return replace(self, schemes=tuple(schemes), authenticator=authenticator)

    def restricted(self, names: Collection[str]) -> "EnoConfig":
        """A copy with only those algorithms of each kind that are named, and all of a kind of which none is."""
        schemes = tuple(each for each in self.schemes if each.name in names)
        aeads = tuple(each for each in self.aeads if each.name in names)
        return replace(self, schemes=schemes or self.schemes, aeads=aeads or self.aeads)


def algorithm_names() -> tuple[str, ...]:
    """The names of all key-agreement schemes, then of all AEAD algorithms, each best first."""
    return (*(each.name for each in SCHEMES), *(each.name for each in FRAME_AEADS))
