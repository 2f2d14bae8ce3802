"""What a connection knows about its peer's identity (docs/identity.md)."""

import enum
from dataclasses import dataclass


class Outcome(enum.Enum):
    """Whether a peer is the right host. People and programs see the values."""

    AUTHENTICATED = "authenticated"
    """It has a key, or a certificate of an authority, that is listed for its address."""
    FIRST_USE = "first_use"
    """Nothing was known for its address; the key is remembered from now on."""
    UNKNOWN = "unknown"
    """Nothing is known for its address, or what is known has no bearing on this key."""
    ABSENT = "absent"
    """It has proved nothing."""
    INVALID = "invalid"
    """Its certificate is of the right authority but expired, not for it, or otherwise not valid."""
    CHANGED = "changed"
    """Another key is known for its address."""
    REVOKED = "revoked"
    """Its key, or the authority of its certificate, is revoked."""
    FORGED = "forged"
    """Its proof is wrong."""

    @property
    def is_wrong(self) -> bool:
        """The peer is known not to be the right host: connections with it are refused."""
        return self in _WRONG


_WRONG = (Outcome.CHANGED, Outcome.REVOKED, Outcome.FORGED)


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """What follows from a peer's proof, or from there being none. Connections share it."""

    outcome: Outcome
    name: str = ""
    """What people call the peer; empty unless it is authenticated."""
    fingerprint: str = ""
    """Of its key, as ssh shows it; empty when it has proved nothing."""
    reason: str = ""
    """Why it is not authenticated, for people."""
    token: bytes = b""
    """Stands for what it has proved, 33 bytes, so that a later connection can be judged by it; empty: nothing."""

    def suits(self, *, must_authenticate: bool) -> bool:
        """Whether a connection with such a peer is allowed."""
        return self.is_authenticated or not (must_authenticate or self.outcome.is_wrong)

    @property
    def is_authenticated(self) -> bool:
        """The peer is known to be the right host."""
        return self.outcome is Outcome.AUTHENTICATED


ABSENT = PeerIdentity(Outcome.ABSENT, reason="the peer has not proved who it is")


def to_show(identity: PeerIdentity | None, is_identified: bool, must_authenticate: bool) -> PeerIdentity | None:
    """Who a refused connection was with; None: that is not clear.

    Before the peer has shown that it has the keys, a suitable identity is that of an earlier session or a proof that
    anybody may have repeated, and not why the connection is refused.
    """
    if identity is None or is_identified:
        return identity
    return None if identity.suits(must_authenticate=must_authenticate) else identity
