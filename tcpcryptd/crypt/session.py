"""A session: the secret that both ends share, and what follows from it (spec sections 4 and 9)."""

from dataclasses import dataclass, field
from typing import Self

from tcpcryptd.crypt.roles import Role
from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.segment import SegmentProtection
from tcpcryptd.crypto.suites import SymmetricSuite


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
        keys = key_schedule.traffic_keys(master, mac=suite.has_mac_key)
        client = suite.protection(keys.client_encryption, keys.client_mac)
        server = suite.protection(keys.server_encryption, keys.server_mac)
        outgoing, incoming = (client, server) if role is Role.CLIENT else (server, client)
        return cls(generation, outgoing, incoming, master, suite, role)

    def next(self) -> "Keys":
        """The next generation."""
        master = key_schedule.next_master_key(self.master)
        return Keys.of(master, self.generation + 1 & 0xFF, self.suite, self.role)


@dataclass(frozen=True, slots=True)
class Resumable:
    """What is kept of a session so that the next connection can go on from it; used once (spec section 8)."""

    secret: bytes = field(repr=False)
    """The session secret of the next connection, 20 bytes."""
    role: Role
    suite: SymmetricSuite
    public_key_name: str

    @property
    def session_id(self) -> bytes:
        """The ID of the session that is about to start."""
        return key_schedule.session_id(self.secret)

    @property
    def following(self) -> "Resumable":
        """What the connection after that can go on from."""
        return Resumable(key_schedule.next_secret(self.secret), self.role, self.suite, self.public_key_name)


@dataclass(slots=True)
class Session:
    """What two hosts agreed on for one connection."""

    session_id: bytes
    """20 bytes, the same at both ends and not secret."""
    role: Role
    suite: SymmetricSuite
    public_key_name: str
    keys: Keys = field(repr=False)
    resumed: bool = False
    public_key: bytes | None = None
    """K_C; None when the session was resumed."""
    public_key_spec: bytes | None = None

    @classmethod
    def of(
        cls,
        state: Resumable,
        *,
        resumed: bool = False,
        public_key: bytes | None = None,
        public_key_spec: bytes | None = None,
    ) -> Self:
        """The session of a session secret."""
        keys = Keys.of(key_schedule.master_key(state.secret), 0, state.suite, state.role)
        return cls(
            state.session_id,
            state.role,
            state.suite,
            state.public_key_name,
            keys,
            resumed,
            public_key,
            public_key_spec,
        )

    @property
    def suite_name(self) -> str:
        """Public-key mechanism and suite, as shown to people."""
        return f"{self.public_key_name}/{self.suite.name}"
