"""A session: the secret that both ends share, and what follows from it (docs/crypt-option.md sections 4 and 9)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from tcpcryptd.core.protocol import Classical
from tcpcryptd.crypt.roles import Role
from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.prf import Prf
from tcpcryptd.crypto.segment import SegmentProtection
from tcpcryptd.crypto.suites import MLKEM768_X25519_HPKE, SymmetricSuite

_TOKEN: Final = 25
"""Where its length stands in a session that is kept."""


@dataclass(slots=True)
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


class Resumable:
    """What is kept of a session so that the next connection can resume it, once (docs/crypt-option.md section 8)."""

    __slots__ = ("_prf", "_session_id", "public_key_name", "role", "secret", "suite", "token")

    def __init__(
        self, secret: bytes, role: Role, suite: SymmetricSuite, public_key_name: str, token: bytes = b""
    ) -> None:
        """`secret`: the session secret of the next connection, 20 bytes; `token`: see PeerIdentity."""
        self.secret = secret
        self.role = role
        self.suite = suite
        self.public_key_name = public_key_name
        self.token = token
        self._prf: Prf | None = None
        self._session_id: bytes | None = None

    def encode(self) -> bytes:
        """As it is kept.

        Role (1: client), symmetric spec (4 bytes), secret (20 bytes), the token and its length (1 byte before it), name
        of the public-key mechanism.
        """
        head = bytes((self.role is Role.CLIENT,)) + self.suite.spec + self.secret
        return head + bytes((len(self.token),)) + self.token + self.public_key_name.encode()

    @classmethod
    def decode(cls, encoded: bytes, suites: Mapping[Role, Sequence[SymmetricSuite]]) -> "Resumable | None":
        """The inverse of `encode`; None when the suite is none of those for the role."""
        role = Role.CLIENT if encoded[0] else Role.SERVER
        suite = next((each for each in suites[role] if each.spec == encoded[1:5]), None)
        end = _TOKEN + 1 + encoded[_TOKEN]
        name, token = encoded[end:].decode(), encoded[_TOKEN + 1 : end]
        return cls(encoded[5:_TOKEN], role, suite, name, token) if suite is not None else None

    @property
    def prf(self) -> Prf:
        """Of the secret."""
        if self._prf is None:
            self._prf = Prf(self.secret)
        return self._prf

    @property
    def session_id(self) -> bytes:
        """The ID of the session that is about to start."""
        if self._session_id is None:
            self._session_id = key_schedule.session_id(self.prf)
        return self._session_id


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
    classical: Classical = Classical.PEER
    """Why its key agreement is not post-quantum, if it is not."""

    @classmethod
    def begin(
        cls,
        state: Resumable,
        *,
        resumed: bool = False,
        public_key: bytes | None = None,
        public_key_spec: bytes | None = None,
        classical: Classical = Classical.PEER,
    ) -> tuple[Self, Resumable]:
        """The session of a session secret, and what the connection after it can go on from."""
        master, next_secret = key_schedule.master_key_and_next_secret(state.prf)
        role, suite, name = state.role, state.suite, state.public_key_name
        keys = Keys.of(master, 0, suite, role)
        session = cls(state.session_id, role, suite, name, keys, resumed, public_key, public_key_spec, classical)
        return session, Resumable(next_secret, role, suite, name, state.token)

    @property
    def post_quantum(self) -> bool:
        """Whether the key agreement that the session comes from resists a quantum computer."""
        return self.public_key_name == MLKEM768_X25519_HPKE.agreement.name

    @property
    def suite_name(self) -> str:
        """Public-key mechanism and suite, as shown to people."""
        return f"{self.public_key_name}/{self.suite.name}"
