"""What the connections of one engine share."""

from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from tcpcryptd.core.black_holes import BlackHoles
from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.event import ConnectionInfo, Event
from tcpcryptd.core.hosts import HostTable
from tcpcryptd.core.limits import (
    BLACK_HOLE_TIMES,
    BLACK_HOLES_IN_A_ROW,
    MAX_BLACK_HOLES,
    MAX_DARK_NETWORKS,
    MAX_EVENTS,
    MAX_HOSTS,
    MAX_INJECTIONS,
    MAX_PATHS,
    MAX_READY,
    MAX_TOMBSTONES,
    MAX_UNREACHABLE,
    UNREACHABLE_LIFETIME,
)
from tcpcryptd.core.options import OptionRegistry
from tcpcryptd.core.path_mtu import PathMtu, PathMtus
from tcpcryptd.core.peers import PeerMemory
from tcpcryptd.core.protocol import Handler, Origin, Routed
from tcpcryptd.core.resting import Ready
from tcpcryptd.core.session_cache import SessionCache, SessionStore
from tcpcryptd.core.timers import Timer, TimerQueue
from tcpcryptd.core.tombstones import Tombstones
from tcpcryptd.core.unreachable import Unreachable
from tcpcryptd.core.verdict import ConnectionClass, Direction, Verdict
from tcpcryptd.wire.segment import Segment

FirstPacket = Callable[[Segment, Direction, float, ConnectionClass], Verdict]


class Entry(Protocol):
    """A connection in the flow table, as others see it."""

    key: bytes
    outbound: Handler
    inbound: Handler


class Table(Protocol):
    """The flow table, as its connections see it."""

    def opened(self, connection: Entry) -> bool:
        """The handshake is over: the entry can no longer be evicted. Whether it could before."""

    def closed(self, connection: Entry) -> None:
        """The connection is over: its entry makes room when there is none, and when there are too many of its kind."""

    def remove(self, connection: Entry) -> None:
        """Takes a connection out; one that is not in is no error."""

    def record_plain(self, key: bytes, origin: Origin, info: ConnectionInfo) -> None:
        """Remembers why a connection is not encrypted, as long as there is room."""

    def record_refused(self, key: bytes, info: ConnectionInfo) -> None:
        """Remembers why a connection was refused, as long as there is room."""

    def entry(self, key: bytes) -> Entry | None:
        """The connection with this outgoing key."""


class Services:
    """Randomness, timers, counters, the flow table, and what waits to be collected from the engine."""

    first_packet: FirstPacket
    """The verdict on the first packet of a connection, which may be one in the place of another."""

    def __init__(
        self,
        config: EngineConfig,
        random: Callable[[int], bytes],
        path_mtu: PathMtu,
        recent_path_mtu: PathMtu | None,
        table: Table,
        sessions: SessionStore | None,
    ) -> None:
        self.config = config
        self.random = random
        self.path_mtus = PathMtus(path_mtu, MAX_PATHS, recent_path_mtu)
        self.counters: Counter[str] = Counter()
        self.table = table
        self.tombstones = Tombstones(MAX_TOMBSTONES)
        self.options = OptionRegistry(config.max_options)
        self.sessions: SessionStore = (
            SessionCache(config.max_sessions, config.session_lifetime) if sessions is None else sessions
        )
        self.hosts = HostTable(MAX_HOSTS)
        self.peers = PeerMemory(config.max_peers, config.peer_lifetime, config.peer_trust)
        self.black_holes = BlackHoles(BLACK_HOLE_TIMES, MAX_BLACK_HOLES, MAX_DARK_NETWORKS, BLACK_HOLES_IN_A_ROW)
        self.unreachable = Unreachable(MAX_UNREACHABLE, UNREACHABLE_LIFETIME)
        self.ready = Ready(MAX_READY)
        self.timers = TimerQueue()
        self.injections: deque[Routed] = deque()
        self.afterwards: list[Callable[[], None]] = []
        """What is to be done before the injections are collected, when the packets at hand have their verdicts."""
        self.events: deque[Callable[[], Event]] = deque()
        self.route = 0
        """The way of the packet that a connection begins with."""

    def schedule(self, when: float, callback: Callable[[float], None]) -> Timer:
        """See TimerQueue.schedule."""
        return self.timers.schedule(when, callback)

    def inject(self, direction: Direction, packet: bytes, route: int) -> None:
        """Puts a packet where the engine's caller collects it."""
        if len(self.injections) >= MAX_INJECTIONS:
            self.counters["injections_dropped"] += 1
            return
        self.injections.append((direction, packet, route))

    def emit(self, event: Callable[[], Event]) -> None:
        """Puts an event where the engine's caller collects it; it is made then, when the packets have gone on."""
        if len(self.events) >= MAX_EVENTS:
            self.counters["events_dropped"] += 1
            return
        self.events.append(event)
