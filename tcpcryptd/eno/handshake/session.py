"""A session: the secret that both ends share, and what follows from it (RFC 8548 sections 3.3 to 3.5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tcpcryptd.crypto import tcpcrypt_schedule as schedule
from tcpcryptd.crypto.frame_aead import FrameAead, FrameProtection
from tcpcryptd.crypto.key_scheme import KeyScheme
from tcpcryptd.eno.handshake.negotiation import Negotiated
from tcpcryptd.eno.handshake.offer import EnoRole, Resumption
from tcpcryptd.eno.stream.frame import KeyChain


@dataclass(slots=True)
class SessionSecret:
    """ss[i], which no connection has used, and what it was negotiated with; used once (section 3.5)."""

    secret: bytes = field(repr=False)
    """32 bytes."""
    scheme: KeyScheme
    aead: FrameAead
    original_role: EnoRole
    """What this host was when ss[0] was made: it decides which keys it seals with."""
    token: bytes = b""
    """Stands for what the peer has proved then, see `PeerIdentity`."""

    @property
    def following(self) -> "SessionSecret":
        """ss[i+1]."""
        return replace(self, secret=schedule.next_secret(self.secret))

    def encode(self) -> bytes:
        """As it is kept: scheme (2 bytes), original role (1: A), AEAD algorithm (2, big endian), secret, token."""
        head = self.scheme.code.to_bytes(2, "big") + bytes((self.original_role is EnoRole.A,))
        return head + self.aead.identifier.to_bytes(2, "big") + self.secret + self.token

    @classmethod
    def decode(
        cls, encoded: bytes, schemes: Sequence[KeyScheme], aeads: Callable[[EnoRole], Sequence[FrameAead]]
    ) -> "SessionSecret | None":
        """The inverse of `encode`; None for other algorithms than these, of which `aeads` gives those of a role."""
        role = EnoRole.A if encoded[2] else EnoRole.B
        code, identifier = int.from_bytes(encoded[:2], "big"), int.from_bytes(encoded[3:5], "big")
        scheme = next((each for each in schemes if each.code == code), None)
        aead = next((each for each in aeads(role) if each.identifier == identifier), None)
        if scheme is None or aead is None:
            return None
        return cls(encoded[5 : 5 + schedule.K_LEN], scheme, aead, role, encoded[5 + schedule.K_LEN :])

    def resumption(self, nonce: bytes) -> Resumption:
        """What names this secret in a SYN, with this host's nonce."""
        identifier = schedule.resumption_identifier(self.secret)
        return Resumption(self.scheme.code, self.original_role, identifier, nonce)


@dataclass(slots=True)
class Session:
    """What two hosts agreed on for one connection."""

    session_id: bytes
    """33 bytes, the same at both ends and not secret."""
    role: EnoRole
    """Of this host, in this connection."""
    scheme: KeyScheme
    aead: FrameAead
    resumed: bool
    outgoing_keys: KeyChain = field(repr=False)
    incoming_keys: KeyChain = field(repr=False)

    @classmethod
    def of(
        cls, secret: SessionSecret, negotiated: Negotiated, log_keys: Callable[[int, bytes], None] | None = None
    ) -> "Session":
        """The session that a secret gives a connection; `log_keys` takes each mk[j] when a direction comes to it."""
        nonce = negotiated.resumed.session_nonce if negotiated.resumed is not None else b""
        master = schedule.first_master_key(secret.secret, nonce)
        chains = tuple(_GenerationKeys(master, secret.aead, direction, log_keys) for direction in (0, 1))
        outgoing, incoming = chains if secret.original_role is EnoRole.A else reversed(chains)
        return cls(
            schedule.session_id(negotiated.tep_byte, secret.secret, nonce),
            negotiated.role,
            secret.scheme,
            secret.aead,
            negotiated.resumed is not None,
            outgoing,
            incoming,
        )

    @property
    def suite_name(self) -> str:
        """Key-agreement scheme and AEAD algorithm, as shown to people."""
        return f"{self.scheme.name}/{self.aead.name}"


class _GenerationKeys:
    """A KeyChain: derives mk[j] when generation j begins, and forgets the one before."""

    __slots__ = ("_aead", "_direction", "_generation", "_log_keys", "_master")

    def __init__(
        self, master: bytes, aead: FrameAead, direction: int, log_keys: Callable[[int, bytes], None] | None
    ) -> None:
        """`direction`: 0 for k_ab, 1 for k_ba."""
        self._master = master
        self._aead = aead
        self._direction = direction
        self._generation = 0
        self._log_keys = log_keys

    def __call__(self, generation: int) -> FrameProtection:
        while self._generation < generation:
            self._master = schedule.next_master_key(self._master)
            self._generation += 1
        if self._log_keys is not None:
            self._log_keys(self._generation, self._master)
        return self._aead.protection(schedule.traffic_keys(self._master, self._aead)[self._direction])
