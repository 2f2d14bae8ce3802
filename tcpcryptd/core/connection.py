"""One connection: its entry in the flow table, and what the core lends its protocol."""

from collections.abc import Callable

from tcpcryptd.core.event import Closed, ConnectionInfo, Disabled, Identified, IntegrityFailure, PeerRefused
from tcpcryptd.core.flow_key import endpoints, local_address, peer_address
from tcpcryptd.core.lifecycle import Lifecycle, Phase
from tcpcryptd.core.limits import IDLE
from tcpcryptd.core.peer_identity import to_show
from tcpcryptd.core.protocol import Description, Handler, Origin, PeerIdentity, ProtocolState, Quoted, gone
from tcpcryptd.core.services import Services
from tcpcryptd.core.session_cache import SessionStore
from tcpcryptd.core.snapshot import agreement, negotiated, plain, refused, snapshot
from tcpcryptd.core.succession import after_crossing, answered
from tcpcryptd.core.timers import Timer
from tcpcryptd.core.verdict import ACCEPT_PLAIN, DROP, ConnectionClass, Direction, Verdict
from tcpcryptd.wire.icmp import packet_too_big
from tcpcryptd.wire.segment import ACK, RST, Segment, make
from tcpcryptd.wire.sequence import add
from tcpcryptd.wire.words import uint16


class Connection:
    """A ConnectionHandle, and an entry of the flow table. `outbound`, `inbound`: rebound by the protocol's states."""

    __slots__ = (
        "_delayed",
        "_expiry",
        "_integrity_reported",
        "_is_identified",
        "_kept",
        "_lifecycle",
        "_negotiated",
        "_services",
        "_timer",
        "connection_class",
        "identity",
        "inbound",
        "key",
        "last_seen",
        "must_authenticate",
        "options",
        "origin",
        "outbound",
        "outgrown",
        "protocol_name",
        "route",
        "state",
    )

    outbound: Handler
    inbound: Handler

    def __init__(self, services: Services, key: bytes, origin: Origin, protocol_name: str) -> None:
        self.key = key
        """The flow key of what the local host sends."""
        self.origin = origin
        self.protocol_name = protocol_name
        self.options = services.options.for_connection(key)
        """What the application asked for; fixed in the handshake, except options that an open connection can change."""
        self.connection_class = ConnectionClass.UNDECIDED
        self.last_seen = origin.started
        self.outgrown = False
        self.identity: PeerIdentity | None = None
        """The identity that the peer has signed; None: no identities are in use, or it has not come yet."""
        self._is_identified = False
        self.must_authenticate = services.config.requires_identity(endpoints(key)[1].address)
        self.route = services.route  # The way of the local kernel's packets, see core.protocol.Routed.
        self._services = services
        self._lifecycle = Lifecycle()
        self.state: ProtocolState | None = None  # None: no protocol has taken it, or it is over.
        self._timer: Timer | None = None
        self._delayed: Timer | None = None
        self._expiry: Timer | None = None
        self._integrity_reported = False
        self._negotiated = False
        self._kept: tuple[bytes, int] | None = None
        """The session that this connection has left in the cache."""

    @property
    def phase(self) -> Phase:
        """How far the connection has come."""
        return self._lifecycle.phase

    @property
    def is_taken(self) -> bool:
        """Whether a protocol has taken it, and it is not over."""
        return self.state is not None

    @property
    def peer_address(self) -> bytes:
        """4 or 16 bytes."""
        return peer_address(self.key)

    @property
    def peer_port(self) -> int | None:
        """See core.protocol.Connection."""
        return uint16(self.key, len(self.key) - 2) if self.origin.active else None

    @property
    def sessions(self) -> SessionStore:
        """Sessions that may be resumed."""
        return self._services.sessions

    def keep_session(self, key: bytes, session: bytes, now: float) -> None:
        """Keeps a session for the next connection, if the application lets us."""
        if self.options.cache:
            number = self.sessions.put(key, session, now)
            self._kept = (key, number) if number is not None else None

    def flush_session(self) -> None:
        """Forgets this connection's session for later ones, and lets it keep no other (RFC 8548 section 3.5)."""
        self.options = self.options.changed(cache=False)
        if self._kept is not None:
            self.sessions.discard(*self._kept)
            self._kept = None

    def random(self, size: int) -> bytes:
        """`size` random bytes that nobody can guess."""
        return self._services.random(size)

    def path_mtu(self) -> int | None:
        """Bytes of IP packet that reach the peer; None: not known."""
        return self._services.path_mtus.of(self.peer_address)

    @property
    def max_mss(self) -> int:
        """See protocol.Connection."""
        return self._services.path_mtus.max_mss(self.peer_address)

    def narrowed(self, mtu: int, added: int, is_own: bool) -> tuple[int, int]:
        """See PathMtus.narrowed."""
        return self._services.path_mtus.narrowed(self.peer_address, mtu, added, is_own)

    def tell_path_mtu(self, packet: bytes, offset: int, mtu: int, added: int) -> None:
        """See core.protocol.Connection: by an ICMP error, as of a router, but not again while the kernel remembers."""
        if not self._services.path_mtus.is_reckoned_with(self.peer_address):
            _, told = self.narrowed(mtu, added, False)
            if told < mtu:
                self.inject(Direction.IN, packet_too_big(packet, offset, told))

    def translated(self, direction: Direction, error: Quoted) -> tuple[int, int | None] | None:
        """See ProtocolState.translated."""
        return self.state.translated(direction, error) if self.state is not None else None

    def count(self, name: str) -> None:
        """Adds one to a counter."""
        self._services.counters[name] += 1

    def transition(self, state: ProtocolState, outbound: Handler, inbound: Handler) -> None:
        """The protocol enters a new state: these handlers take over."""
        self.state = state
        self.outbound = outbound
        self.inbound = inbound

    def inject(self, direction: Direction, packet: bytes) -> None:
        """Sends a packet of the daemon's own."""
        self._services.inject(direction, packet, self.route)

    def afterwards(self, action: Callable[[], None]) -> None:
        """Calls `action` once the current packets have their verdicts, so that it injects nothing outdated."""
        self._services.afterwards.append(action)

    def set_timer(self, when: float, callback: Callable[[float], None]) -> None:
        """Calls `callback(now)` at `when`, instead of what was set before."""
        self.cancel_timer()
        self._timer = self._services.schedule(when, callback)

    def cancel_timer(self) -> None:
        """Cancels the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def delay(self, when: float, callback: Callable[[float], None]) -> None:
        """Calls `callback(now)` at `when`, apart from the timer; does nothing if such a call waits already."""
        if self._delayed is None or self._delayed.callback is None:
            self._delayed = self._services.schedule(when, callback)

    def offer_answered(self) -> None:
        """The peer has answered a SYN with an option of ours, whatever it said."""
        self._services.black_holes.answered(local_address(self.key), self.peer_address)

    def offer_swallowed(self, now: float) -> None:
        """The peer has answered a SYN without the option, and none of those with it."""
        self.count("offers_swallowed")
        peer, services = self.peer_address, self._services
        trusted = services.peers.trusts(peer, now)
        services.black_holes.swallowed(local_address(self.key), peer, self.origin.started, now, trusted=trusted)

    def declined(self, now: float) -> None:
        """The peer has answered the offer as a host that does not speak the protocol."""
        self._services.peers.declined(self.peer_address, self.protocol_name, now)

    def encrypted(self, now: float) -> None:
        """Both sides have keys: from now on nothing passes that is not sealed. Later calls change nothing."""
        if not self.connection_class.is_encrypted:
            self.connection_class = ConnectionClass.ENCRYPTED
        if self.must_authenticate and not (self.identity is not None and self.identity.is_authenticated):
            self.refuse("the peer is not authenticated")
            return
        if self._negotiated or not self._services.table.opened(self):
            return
        self._negotiated = True
        self._lifecycle.established()
        if self.phase is Phase.CLOSED:
            # The segment that showed it is the last one.
            self._services.table.closed(self)
        self.count("negotiated")
        about = self._describe()
        self.count(agreement(about))
        if self.origin.active:
            self._services.peers.answered(self.peer_address, self.protocol_name, now)
        else:
            self._services.peers.offered(self.peer_address, self.protocol_name)
        self.last_seen = now
        self.watch_idleness()
        self._services.ready.add(self, now)
        self._services.emit(lambda: negotiated(self.key, self.protocol_name, about))

    def orphaned(self, now: float) -> None:
        """The keys of an earlier daemon's connection are lost: it is reset."""
        self._services.tombstones.add(self.key, self.origin)
        self._services.table.opened(self)
        self._services.table.closed(self)
        self._lifecycle.saw(RST, Direction.OUT)
        self.watch_idleness()

    @property
    def must_encrypt(self) -> bool:
        """Whether this connection must fail rather than be plain."""
        remote = endpoints(self.key)[1].address
        return self.must_authenticate or (self.origin.active and self._services.config.requires(remote))

    @property
    def must_be_post_quantum(self) -> bool:
        """Whether this connection must fail rather than have keys that are not post-quantum."""
        return self.origin.active and self._services.config.requires_post_quantum(endpoints(self.key)[1].address)

    def decide_plain(self, reason: str) -> Verdict:
        """Leaves the connection plain, or refuses it; returns the verdict on the current packet, as it came."""
        if self.must_authenticate:
            self.refuse(reason)
            return DROP
        self._services.emit(lambda: Disabled(*endpoints(self.key), reason))
        if self.must_encrypt:
            self._fail(reason)
            return DROP
        self._forget()
        self.connection_class = ConnectionClass.PLAIN
        self.count("plain")
        self._services.table.record_plain(self.key, self.origin, plain(self.key, self.origin, self.options, reason))
        return ACCEPT_PLAIN

    def identified(self) -> None:
        """The peer has the keys: it is the one that `identity` says."""
        identity = self.identity
        if identity is not None and not self._is_identified:
            self._is_identified = True
            self.count(f"identity_{identity.outcome.value}")
            self._services.hosts.saw(self.key, self.identity, self.last_seen)
            self._services.emit(lambda: Identified(*endpoints(self.key), identity))

    def refuse(self, reason: str) -> None:
        """Ends a connection whose peer is not who it should be, or has not proved it."""
        self._services.emit(lambda: PeerRefused(*endpoints(self.key), reason))
        identity = to_show(self.identity, self._is_identified, self.must_authenticate)
        if identity is not None and not self._is_identified:
            self.count(f"identity_{identity.outcome.value}")
            self._services.hosts.saw(self.key, identity, self.last_seen)
        if self.phase is Phase.OPENING and not self.origin.active and self.origin.isn is not None:
            # Perhaps no kernel has answered the SYN.
            seen = add(self.origin.isn, 1)
            self.inject(Direction.OUT, make(self.key, sequence=0, acknowledgment=seen, flags=RST | ACK, window=0))
        self._fail(reason, identity)

    def _fail(self, reason: str, identity: PeerIdentity | None = None) -> None:
        self.count("refused")
        self.reset()
        info = refused(self.key, self.protocol_name, self.origin, self.options, reason, identity)
        self._services.table.record_refused(self.key, info)

    def saw_closing(self, flags: int, direction: Direction, now: float) -> None:
        """An authentic segment with FIN or RST passed."""
        before = self.phase
        self._lifecycle.saw(flags, direction)
        if self.phase is not before:
            if self.phase is Phase.CLOSED:
                self._services.table.closed(self)
            self.last_seen = now
            self.watch_idleness()

    def renew(self, segment: Segment, direction: Direction, now: float) -> Verdict:
        """The SYN of a new connection with the same addresses and ports: this one is over."""
        if self.origin.active and direction is Direction.OUT and segment.sequence == self.origin.isn:
            # This one's, sent again before its answer came, has waited behind that.
            return DROP
        self.close()
        self._services.tombstones.discard(self.key)
        self._services.route = self.route
        return self._services.first_packet(segment, direction, now, self.connection_class)

    def cross(self, peers: Segment, ours: Segment, now: float) -> Verdict:
        """The local kernel had sent its SYN before it was given the peer's: the verdict on the local one."""
        verdict = self.renew(ours, Direction.OUT, now)
        return after_crossing(self._services, self.key, peers, verdict, now)

    def reopen(self, syn: Segment, answer: Segment, now: float) -> Verdict:
        """The local kernel has answered a peer's SYN: only that shows that this connection is over.

        The SYN has been delivered; the verdict on the SYN ACK.
        """
        if not self.origin.active and syn.sequence == self.origin.isn:
            # The SYN of this one, that a kernel without room for the connection answers again.
            return DROP
        self.close()
        self._services.tombstones.discard(self.key)
        self._services.route = self.route
        return answered(self._services, self.key, syn, answer, now)

    def report_integrity_failure(self) -> None:
        """A segment was not authentic; the first one is an event, all are counted."""
        self.count("integrity_failures")
        if not self._integrity_reported:
            self._integrity_reported = True
            self._services.emit(lambda: IntegrityFailure(*endpoints(self.key)))

    def close(self) -> None:
        """Drops the entry and its keys."""
        self._forget()
        if self._negotiated:
            self._services.emit(lambda: Closed(*endpoints(self.key)))

    def reset(self) -> None:
        """Ends the connection at both ends and drops its keys. It is remembered, unless no kernel has seen its SYN."""
        if self.state is not None:
            for direction, packet in self.state.resets():
                self.inject(direction, packet)
        if self.state is not None or self.origin.active:
            self._services.tombstones.add(self.key, self.origin)
        self.close()

    def rekey(self) -> bool:
        """Replaces the keys; False when the connection has none that can be replaced."""
        if self.phase is not Phase.OPEN or self.state is None:
            return False
        self.state.rekey()
        return True

    def undeliverable(self, now: float) -> bool:
        """See ProtocolState."""
        return self.state is not None and self.state.undeliverable(now)

    def abandon(self) -> None:
        """Drops the entry of an unfinished handshake, whose kernels may then go on in clear, or an idle one."""
        if (self.must_encrypt or self.connection_class.is_encrypted) and self.phase is Phase.OPENING:
            self.reset()
        else:
            self.close()

    def watch_idleness(self) -> None:
        """Sets the timer that drops the entry when no more authentic segments come."""
        due = self.last_seen + IDLE[self.phase]
        if self._expiry is not None:
            if self._expiry.when <= due:
                # It looks again then.
                return
            self._expiry.cancel()
        self._expiry = self._services.schedule(due, self._check_idleness)

    def _check_idleness(self, now: float) -> None:
        self._expiry = None
        if now >= self.last_seen + IDLE[self.phase]:
            self.count("expired")
            self.abandon()
        else:
            self.watch_idleness()

    def info(self) -> ConnectionInfo:
        """A snapshot for the control socket."""
        name, known = self.protocol_name, self.identity if self._is_identified else None
        return snapshot(self, name, self._describe(), known, negotiated=self._negotiated)

    def _describe(self) -> Description:
        return self.state.describe() if self.state is not None else Description()

    def _forget(self) -> None:
        if self._is_identified:
            self._services.hosts.saw(self.key, self.identity, self.last_seen)
        self.cancel_timer()
        for timer in (self._delayed, self._expiry):
            if timer is not None:
                timer.cancel()
        self._delayed = self._expiry = None
        self._services.table.remove(self)
        if self.state is not None:
            # The protocol refers to this, too: the two would keep each other, and the keys.
            self.state.forget()
            self.state = None
            self.outbound = self.inbound = gone
