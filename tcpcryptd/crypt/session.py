"""A session: the secret that both ends share, and what follows from it (spec sections 4 and 9)."""

import enum
from dataclasses import dataclass, field, replace
from typing import Self

from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.segment import SegmentProtection
from tcpcryptd.crypto.suites import SymmetricSuite


class Role(enum.Enum):
    """Who a host is in the key exchange; the active opener is the client unless roles are switched."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Keys:
    """One generation of traffic keys, ready for use, and the master key that the next one follows from."""

    generation: int
    """One byte, wraps."""
    outgoing: SegmentProtection = field(repr=False)
    incoming: SegmentProtection = field(repr=False)
    master: bytes = field(repr=False)
    suite: SymmetricSuite
    role: Role

    @classmethod
    def of(cls, master: bytes, generation: int, suite: SymmetricSuite, role: Role) -> Self:
        """The keys of one master key: C keys protect what the client sends, S keys what the server sends."""
        keys = key_schedule.traffic_keys(master)
        client = suite.protection(keys.client_encryption, keys.client_mac)
        server = suite.protection(keys.server_encryption, keys.server_mac)
        outgoing, incoming = (client, server) if role is Role.CLIENT else (server, client)
        return cls(generation, outgoing, incoming, master, suite, role)

    def next(self) -> "Keys":
        """The next generation."""
        master = key_schedule.next_master_key(self.master)
        return Keys.of(master, self.generation + 1 & 0xFF, self.suite, self.role)


@dataclass(frozen=True, slots=True)
class Session:
    """What two hosts agreed on for one connection."""

    session_id: bytes
    """20 bytes, the same at both ends and not secret."""
    role: Role
    suite: SymmetricSuite
    public_key_name: str
    keys: Keys = field(repr=False)
    next_secret: bytes = field(repr=False)
    """ss[i+1], 20 bytes."""
    resumed: bool = False
    peer_aware: bool = False
    secure_reset: bool = False
    """RST segments need a MAC too (SECURST)."""

    @classmethod
    def of(cls, secret: bytes, role: Role, suite: SymmetricSuite, public_key_name: str) -> Self:
        """The session of the session secret ss[i], 20 bytes."""
        return cls(
            key_schedule.session_id(secret),
            role,
            suite,
            public_key_name,
            Keys.of(key_schedule.master_key(secret), 0, suite, role),
            key_schedule.next_secret(secret),
        )

    def with_peer(self, *, aware: bool) -> "Session":
        """The same session with what the peer said of its application."""
        return replace(self, peer_aware=aware)

    @property
    def suite_name(self) -> str:
        """Public-key mechanism and suite, as shown to people."""
        return f"{self.public_key_name}/{self.suite.name}"
