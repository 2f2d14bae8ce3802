"""A session: the secret that both ends share, and what follows from it (spec section 4)."""

import enum
from dataclasses import dataclass, field

from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.segment import SegmentProtection
from tcpcryptd.crypto.suites import SymmetricSuite


class Role(enum.Enum):
    """Who a host is in the key exchange; the active opener is the client unless roles are switched."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Session:
    """Keys and names of one encrypted connection."""

    session_id: bytes
    """20 bytes, the same at both ends and not secret."""
    role: Role
    suite: SymmetricSuite
    suite_name: str
    """With the public-key mechanism, as shown to people."""
    outgoing: SegmentProtection = field(repr=False)
    incoming: SegmentProtection = field(repr=False)
    resumed: bool = False
    peer_aware: bool = False
    secure_reset: bool = False
    """RST segments need a MAC too (SECURST)."""


def begin(secret: bytes, role: Role, suite: SymmetricSuite, public_key_name: str, *, peer_aware: bool) -> Session:
    """The session of the session secret ss[i], 20 bytes."""
    keys = key_schedule.traffic_keys(key_schedule.master_key(secret))
    client = suite.protection(keys.client_encryption, keys.client_mac)
    server = suite.protection(keys.server_encryption, keys.server_mac)
    outgoing, incoming = (client, server) if role is Role.CLIENT else (server, client)
    return Session(
        key_schedule.session_id(secret),
        role,
        suite,
        f"{public_key_name}/{suite.name}",
        outgoing,
        incoming,
        peer_aware=peer_aware,
    )
