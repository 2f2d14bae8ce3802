"""What is known of one connection, from the engine to whoever asks."""

import enum
import math
from dataclasses import dataclass, fields

from tcpcryptd.records.address import Address
from tcpcryptd.records.connection_options import DEFAULT_OPTIONS, ConnectionOptions
from tcpcryptd.records.json_codec import decode_named, encode

_AMONG_PROCESSES = (
    *("started", "last_seen", "public_key", "public_key_spec", "symmetric_spec", "generation"),
    "options",
)
"""What the control protocol does not tell; some of it is the value of a socket option."""


class ConnectionState(enum.StrEnum):
    """How a connection stands, as users are told."""

    HANDSHAKE = "handshake"
    """The peer is not known to have the keys, nor that there will be none."""
    ENCRYPTED = "encrypted"
    CLOSED = "closed"
    """Both ends have closed it, or one has reset it; it is kept for what is still retransmitted. It was encrypted
    unless a reason says otherwise."""
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """Who the host at the other end is, as far as that is known; raises ValueError for what makes no sense."""

    outcome: str
    """authenticated, first_use, unknown, absent or invalid; where a connection was refused also changed, revoked or
    forged."""
    name: str | None = None
    """What people call it: a name of the list, or its address; None unless it is authenticated."""
    key: str | None = None
    """The fingerprint of its key, as ssh shows it; None when it has proved nothing."""
    reason: str | None = None
    """Why it is not authenticated."""

    def __post_init__(self) -> None:
        if (self.outcome == "authenticated") is (self.name is None):
            raise ValueError("a peer has a name exactly when it is authenticated")


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One connection at one moment; raises ValueError for what makes no sense."""

    local: Address
    remote: Address
    state: ConnectionState
    protocol: str | None = None
    """The wire protocol: crypt or eno."""
    session_id: bytes | None = None
    """None unless the connection is encrypted, or was."""
    role: str | None = None
    """client or server of the key exchange, which need not be the one of the connection; with eno A or B."""
    suite: str | None = None
    resumed: bool = False
    post_quantum: bool = False
    """The key agreement behind the keys resists a quantum computer."""
    peer_aware: bool = False
    """The application on the other side said that it knows of tcpcrypt."""
    reason: str | None = None
    """Why the connection is not encrypted."""
    age: float = 0.0
    """Seconds since it was opened, as the control server tells it."""
    bytes_sent: int = 0
    bytes_received: int = 0
    peer: PeerInfo | None = None
    """Who the other host is; None when no identities are in use, or it is not clear yet."""
    owner: int | None = None
    """User ID of the local socket; None when no process holds it, or when the daemon does not tell."""
    started: float = 0.0
    """Seconds on the clock of the engine's caller."""
    last_seen: float = 0.0
    """When the last authentic segment passed, on the same clock."""
    public_key: bytes | None = None
    """Of the key exchange, this host's when its role is client; None when the session was resumed."""
    public_key_spec: bytes | None = None
    """The mechanism's identifier in the protocol."""
    symmetric_spec: bytes | None = None
    """The suite's identifier in the protocol."""
    generation: int = 0
    """How often keys were replaced, modulo 256."""
    options: ConnectionOptions = DEFAULT_OPTIONS

    def __post_init__(self) -> None:
        if not math.isfinite(self.age) or min(self.age, self.bytes_sent, self.bytes_received, self.owner or 0) < 0:
            raise ValueError("a number is negative or not finite")

    def to_message(self) -> dict[str, object]:
        """The object that stands in a message of the control protocol; the session ID is hexadecimal."""
        told = [field.name for field in fields(self) if field.name not in _AMONG_PROCESSES]
        return {name: encode(getattr(self, name)) for name in told} | {"age": round(self.age, 3)}

    @classmethod
    def from_message(cls, value: object) -> "ConnectionInfo":
        """Reads that object, ignoring what it does not know; raises ValueError."""
        return decode_named("session", cls, value)
