"""Events that the engine reports, for the log and for other observers."""

import enum
from dataclasses import dataclass

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.options import DEFAULT_OPTIONS, ConnectionOptions
from tcpcryptd.core.peer_identity import PeerIdentity


class ConnectionState(enum.Enum):
    """The state of a connection, as users see it."""

    HANDSHAKE = "handshake"
    """Not known yet whether the peer has the keys."""
    ENCRYPTED = "encrypted"
    CLOSED = "closed"
    """Both ends have closed it, or one has reset it; it is kept for retransmissions."""
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What is known of one connection, at one moment."""

    local: Endpoint
    remote: Endpoint
    state: ConnectionState
    protocol: str | None = None
    """The wire protocol: crypt."""
    session_id: bytes | None = None
    """None unless the connection is encrypted, or was."""
    role: str | None = None
    """client or server of the key exchange, which need not be the one of the connection."""
    suite: str | None = None
    resumed: bool = False
    post_quantum: bool = False
    """The key agreement behind the keys resists a quantum computer."""
    peer_aware: bool = False
    """The application on the other side said that it knows of tcpcrypt."""
    reason: str | None = None
    """Why the connection is not encrypted."""
    started: float = 0.0
    """Seconds on the clock of the engine's caller."""
    bytes_sent: int = 0
    bytes_received: int = 0
    public_key: bytes | None = None
    """Of the key exchange, this host's when its role is client; None when the session was resumed."""
    public_key_spec: bytes | None = None
    """The mechanism's identifier in the protocol."""
    symmetric_spec: bytes | None = None
    """The suite's identifier in the protocol."""
    generation: int = 0
    """How often keys were replaced, modulo 256."""
    options: ConnectionOptions = DEFAULT_OPTIONS
    identity: PeerIdentity | None = None
    """Who the peer is; None: no identities are in use, or it is not clear yet."""
    last_seen: float = 0.0
    """When the last authentic segment passed, on the same clock as `started`."""


@dataclass(slots=True)
class Negotiated:
    """A connection is encrypted from now on."""

    local: Endpoint
    remote: Endpoint
    protocol: str
    """The wire protocol: crypt or eno."""
    session_id: bytes | None
    suite: str | None
    role: str | None
    resumed: bool = False
    post_quantum: bool = False


@dataclass(slots=True)
class Disabled:
    """A connection goes on as plain TCP, or was refused because its destination must be encrypted."""

    local: Endpoint
    remote: Endpoint
    reason: str


@dataclass(slots=True)
class Identified:
    """The peer of an encrypted connection is identified, or has not proved who it is."""

    local: Endpoint
    remote: Endpoint
    identity: PeerIdentity


@dataclass(slots=True)
class PeerRefused:
    """A connection was ended because the peer is not who it should be, or has not proved who it is."""

    local: Endpoint
    remote: Endpoint
    reason: str


@dataclass(frozen=True, slots=True)
class IntegrityFailure:
    """The first segment of an encrypted connection that was dropped because it is not authentic."""

    local: Endpoint
    remote: Endpoint


@dataclass(slots=True)
class Closed:
    """An encrypted connection has ended and its keys are gone."""

    local: Endpoint
    remote: Endpoint


@dataclass(frozen=True, slots=True)
class InternalError:
    """An exception in the engine: a bug. Reported once for each place that it comes from."""

    description: str


Event = Negotiated | Disabled | Identified | PeerRefused | IntegrityFailure | Closed | InternalError


def raised_at(error: Exception) -> str:
    """Where an exception was raised: file and line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
