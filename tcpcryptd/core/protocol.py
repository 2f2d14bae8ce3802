"""The interface between the core and a wire protocol, and nothing more."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from tcpcryptd.core.lifecycle import Phase
from tcpcryptd.core.options import ClientMode, ConnectionOptions, Support
from tcpcryptd.core.peer_identity import ABSENT, Outcome, PeerIdentity
from tcpcryptd.core.session_cache import SessionStore
from tcpcryptd.core.verdict import (
    ACCEPT,
    DROP,
    Action,
    ConnectionClass,
    Direction,
    Gathered,
    Verdict,
    joined,
    modify,
)
from tcpcryptd.wire.segment import Segment

__all__ = [
    "ABSENT",
    "ACCEPT",
    "DROP",
    "SWALLOWED",
    "UNSEEN_ANSWER",
    "Action",
    "Classical",
    "ClientMode",
    "ConnectionClass",
    "ConnectionHandle",
    "ConnectionOptions",
    "Description",
    "Direction",
    "Gathered",
    "Handler",
    "Injection",
    "Judge",
    "Origin",
    "Outcome",
    "PeerIdentity",
    "Phase",
    "ProtocolFactory",
    "ProtocolState",
    "Quoted",
    "Routed",
    "Stray",
    "Support",
    "Verdict",
    "gone",
    "joined",
    "modify",
]

SWALLOWED: Final = "the peer answered only the SYN without the option"
"""The reason of a plain connection whose offers got no answer."""

UNSEEN_ANSWER: Final = "the answer to its SYN did not pass tcpcryptd"
"""Why a connection is plain: addresses are translated in between, or the answer comes by another way."""

Judge = Callable[[str, int | None, bytes], PeerIdentity | None]
"""Takes a peer's address, the port that this host connected to (None: the peer connected) and the token of an identity;
gives what is believed of it now, None when what it has proved is forgotten."""

Handler = Callable[[bytes, int, float], Verdict]
"""Takes the IP packet, where its TCP header starts, and the time."""


def gone(_packet: bytes, _offset: int, _now: float) -> Verdict:
    """The handler of a connection that is over."""
    return DROP


Injection = tuple[Direction, bytes]
"""A whole IP packet that goes out by itself: to the wire, or to the local kernel."""

Routed = tuple[Direction, bytes, int]
"""The same with the way that the connection's own packets take, as the engine's caller named it; 0: not known."""


@dataclass(slots=True)
class Origin:
    """How a connection came to be."""

    active: bool
    """The local host sent the SYN."""
    started: float
    isn: int | None = None
    """The sequence number of that SYN; None: an earlier daemon saw it."""


class Stray(enum.Enum):
    """How to treat a protocol's segment whose connection the engine does not know."""

    DROP = enum.auto()
    """The peer can still fall back to plain TCP."""
    RESET = enum.auto()
    """The peer has keys, and we have none: the connection is lost."""


class Classical(enum.Enum):
    """Why the key agreement of a session is not post-quantum; values are names of counters."""

    PEER = "classical_peer"
    """The peer does not know one, or did not choose it."""
    SETTING = "classical_setting"
    """This host's configuration excludes one, or its OpenSSL has none."""
    SIZE = "classical_size"
    """Its messages do not fit into segments here."""
    LOSS = "classical_loss"
    """Its messages were lost twice."""
    RESUMED = "classical_resumed"
    """The session resumes one without."""


@dataclass(slots=True)
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
    post_quantum: bool = False
    """The key agreement behind the session, an earlier one's if it was resumed, resists a quantum computer."""
    classical: Classical = Classical.PEER
    """Why it does not; of a session that was not resumed."""


class Quoted(NamedTuple):
    """Of an ICMP error about a segment."""

    sequence: int
    mtu: int | None
    """Bytes of IP packet that a link takes, when the segment was larger."""
    is_own: bool
    """The local kernel's about a packet of its own, which has grown over what it was told that the path carries."""
    is_unsealed: bool
    """The segment is quoted as it came from the local side."""


class ProtocolState:
    """The protocol of one connection in one state; it binds its handlers to the connection when it begins.

    Here: without keys, and without anything that would have to end.
    """

    def __repr__(self) -> str:
        return type(self).__name__

    def describe(self) -> Description:
        """What the control socket may show; never a key."""
        return Description()

    def resets(self) -> list[Injection]:
        """RST segments that end the connection at both ends, in the numbers that each of them expects."""
        return []

    def forget(self) -> None:
        """The connection is over: breaks cycles of references, so that keys go now and not with some collection."""

    def rest(self) -> None:
        """Drops what it can make again from the keys when a segment comes, see `core.resting`."""

    def settle(self) -> None:
        """Does now what waits until others need nothing any more, since somebody asks about the connection."""

    def rekey(self) -> None:
        """Replaces the keys; only asked of an open connection. May put it off or do nothing."""

    def undeliverable(self, now: float) -> bool:
        """This host refuses a packet of the daemon's own, now and later.

        Whether that was what the connection depends on: then it is left plain, if it may, or reset.
        """
        return False

    def cut_off(self) -> bool:
        """This host does not let out the segments that a packet was cut into (SPLIT).

        Whether the connection can go on without them.
        """
        return False

    def translated(self, direction: Direction, error: Quoted) -> tuple[int, int | None] | None:
        """What an ICMP error that goes in this direction says on this side: sequence number and MTU.

        None: nobody can have sent such a segment lately.
        """
        return None


class ConnectionHandle(Protocol):
    """What the core lends a wire protocol for one connection; times are the caller's."""

    key: bytes
    """The flow key of what the local host sends: source first."""
    outbound: Handler
    inbound: Handler
    """Those of the present state."""
    origin: Origin
    options: ConnectionOptions
    connection_class: ConnectionClass
    last_seen: float
    """When the last authentic segment passed; the handlers of an open connection keep it."""
    outgrown: bool
    """Whether the local kernel has sent a packet that was too large to be handled whole."""
    identity: PeerIdentity | None
    """The identity that the peer has signed; None: no identities are in use, or it has not come yet."""
    must_authenticate: bool
    """Whether this connection must fail unless the peer is authenticated, whoever opened it."""

    @property
    def phase(self) -> Phase:
        """How far the connection has come."""

    @property
    def peer_address(self) -> bytes:
        """4 or 16 bytes."""

    @property
    def sessions(self) -> SessionStore:
        """Sessions that may be resumed."""

    @property
    def must_encrypt(self) -> bool:
        """Whether this connection must fail rather than be plain."""

    @property
    def must_be_post_quantum(self) -> bool:
        """Whether this connection must fail rather than have keys that are not post-quantum."""

    @property
    def peer_port(self) -> int | None:
        """The port that the local host has connected to; None: the peer opened the connection."""

    def identified(self) -> None:
        """The peer has the keys: it is the one that `identity` says. Later calls change nothing."""

    def refuse(self, reason: str) -> None:
        """Resets the connection because the peer is not who it should be."""

    def keep_session(self, key: bytes, session: bytes, now: float) -> None:
        """Keeps a session under `key` in `sessions`, if the application lets us."""

    def random(self, size: int) -> bytes:
        """`size` random bytes that nobody can guess."""

    def path_mtu(self) -> int | None:
        """Bytes of IP packet that reach the peer; None: not known."""

    @property
    def max_mss(self) -> int:
        """The MSS that fits the path to the peer, as far as is known. SYNs do not allow for IPsec."""

    def narrowed(self, mtu: int, added: int, is_own: bool) -> tuple[int, int]:
        """An error gives an MTU, and `added` bytes are ours in every packet: what the path carries, and is told.

        `is_own`: the local kernel's own error.
        """

    def tell_path_mtu(self, packet: bytes, offset: int, mtu: int, added: int) -> None:
        """Makes the local kernel allow for what is added to its segments; `packet` is one, not acknowledged."""

    def count(self, name: str) -> None:
        """Adds one to a counter."""

    def transition(self, state: ProtocolState, outbound: Handler, inbound: Handler) -> None:
        """The protocol enters a new state: these handlers take over."""

    def inject(self, direction: Direction, packet: bytes) -> None:
        """Sends a packet of the daemon's own."""

    def afterwards(self, action: Callable[[], None]) -> None:
        """Calls `action` once the current packets have their verdicts, so that it injects nothing outdated."""

    def set_timer(self, when: float, callback: Callable[[float], None]) -> None:
        """Calls `callback(now)` at `when`, instead of what was set before.

        If `when` is the present, that is once the current packets have their verdicts and the injections have gone out.
        """

    def cancel_timer(self) -> None:
        """Cancels the timer."""

    def delay(self, when: float, callback: Callable[[float], None]) -> None:
        """Calls `callback(now)` at `when`, apart from the timer; does nothing if such a call waits already."""

    def offer_answered(self) -> None:
        """The peer has answered a SYN with an option of ours, whatever it said."""

    def offer_swallowed(self, now: float) -> None:
        """The peer has answered a SYN without the option, and none of those with it."""

    def declined(self, now: float) -> None:
        """The peer has answered the offer as a host that does not speak the protocol."""

    def encrypted(self, now: float) -> None:
        """Both sides have keys: from now on nothing passes that is not sealed. Later calls change nothing."""

    def decide_plain(self, reason: str) -> Verdict:
        """Leaves the connection plain, or refuses it; returns the verdict on the current packet, as it came."""

    def saw_closing(self, flags: int, direction: Direction, now: float) -> None:
        """An authentic segment with FIN or RST passed."""

    def renew(self, segment: Segment, direction: Direction, now: float) -> Verdict:
        """The local kernel's SYN of a new connection with the same addresses and ports: this one is over."""

    def cross(self, peers: Segment, ours: Segment, now: float) -> Verdict:
        """The local kernel had sent its SYN before it was given the peer's: the verdict on the local one."""

    def reopen(self, syn: Segment, answer: Segment, now: float) -> Verdict:
        """The local kernel has answered a peer's SYN: only that shows that this connection is over.

        The SYN has been delivered; the verdict on the SYN ACK.
        """

    def report_integrity_failure(self) -> None:
        """A segment was not authentic; the first one is an event, all are counted."""

    def reset(self) -> None:
        """Ends the connection at both ends and drops its keys."""


class ProtocolFactory(Protocol):
    """A wire protocol as the engine is given it."""

    name: str

    def offer(self, connection: ConnectionHandle, syn: Segment, now: float) -> Verdict:
        """The local host opens a connection: the verdict on its SYN."""

    def answer(self, connection: ConnectionHandle, syn: Segment, now: float) -> Verdict | None:
        """A peer opens a connection: the verdict on its SYN, or None when it is not in this protocol's dialect."""

    def discards_data(self, syn: Segment) -> bool:
        """Whether data in this SYN of a peer must reach no application, whatever becomes of the connection."""

    def recognizes(self, segment: Segment) -> Stray | None:
        """What to do with a segment of an unknown connection, if it can only belong to this protocol; else None."""
