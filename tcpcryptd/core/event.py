"""Events that the engine reports, for the log and for other observers."""

from dataclasses import dataclass

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.peer_identity import PeerIdentity
from tcpcryptd.records.connection_info import ConnectionInfo, ConnectionState

__all__ = [
    "Closed",
    "ConnectionInfo",
    "ConnectionState",
    "Disabled",
    "Event",
    "Identified",
    "IntegrityFailure",
    "InternalError",
    "Negotiated",
    "PeerRefused",
    "raised_at",
]


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


def lacks_memory(error: Exception) -> bool:
    """Whether it says that there is no memory.

    The library that calls OpenSSL says so with an exception of its own, and Python by a SystemError where it has no
    memory for the arguments of a call, or for its frame.
    """
    if isinstance(error, SystemError):
        return "without exception set" in str(error) or "without setting an exception" in str(error)
    return isinstance(error, MemoryError) or "malloc failure" in str(error)
