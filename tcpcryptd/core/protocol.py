"""What a wire protocol is to the core, and nothing more."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tcpcryptd.core.verdict import Direction, Verdict
from tcpcryptd.wire.segment import Segment

if TYPE_CHECKING:
    from tcpcryptd.core.connection import Connection

Handler = Callable[[bytes, int, float], Verdict]
"""Takes the IP packet, where its TCP header starts, and the time."""

Injection = tuple[Direction, bytes]
"""A whole IP packet that goes out by itself: to the wire, or to the local kernel."""


class Stray(enum.Enum):
    """What becomes of a protocol's segment whose connection the engine does not know."""

    DROP = enum.auto()
    """The peer can still fall back to plain TCP."""
    RESET = enum.auto()
    """The peer has keys, and we have none: the connection is lost."""


@dataclass(frozen=True, slots=True)
class Description:
    """A protocol's part of ConnectionInfo."""

    session_id: bytes | None = None
    role: str | None = None
    suite: str | None = None
    resumed: bool = False
    peer_aware: bool = False
    bytes_sent: int = 0
    bytes_received: int = 0
    public_key: bytes | None = None
    public_key_spec: bytes | None = None
    symmetric_spec: bytes | None = None
    generation: int = 0


class WireProtocol(Protocol):
    """One connection's protocol at one stage; it binds its handlers to the connection when it begins."""

    def describe(self) -> Description:
        """What the control socket may know; never a key."""

    def resets(self) -> list[Injection]:
        """RST segments that end the connection at both ends, in the numbers that each of them expects."""

    def rekey(self) -> None:
        """Replaces the keys; only asked of an open connection. May put it off or do nothing."""


class ProtocolFactory(Protocol):
    """A wire protocol as the engine is given it."""

    name: str

    def offer(self, connection: "Connection", syn: Segment, now: float) -> Verdict:
        """The local host opens a connection: the verdict on its SYN."""

    def answer(self, connection: "Connection", syn: Segment, now: float) -> Verdict | None:
        """A peer opens a connection: the verdict on its SYN, or None when it is not in this protocol's dialect."""

    def recognizes(self, segment: Segment) -> Stray | None:
        """What to do with a segment of an unknown connection that can only belong to this protocol; None: it is not."""
