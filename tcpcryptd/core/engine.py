"""The facade: a packet, its direction and the time in, a verdict out. Nothing that a packet holds makes it raise."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tcpcryptd.core.admission import Admission
from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.connection import Connection
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, Event, InternalError, lacks_memory, raised_at
from tcpcryptd.core.first_packet import FirstPackets
from tcpcryptd.core.flow_key import flow_key
from tcpcryptd.core.flow_table import FlowTable
from tcpcryptd.core.hosts import HostInfo
from tcpcryptd.core.icmp_errors import translated
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.core.path_mtu import PathMtu
from tcpcryptd.core.protocol import Judge, ProtocolFactory, Routed
from tcpcryptd.core.review import review
from tcpcryptd.core.services import Services
from tcpcryptd.core.session_cache import SessionStore
from tcpcryptd.core.stock import Stock
from tcpcryptd.core.verdict import ACCEPT, DROP, ConnectionClass, Direction, Verdict, WholeVerdict, joined
from tcpcryptd.wire.icmp import is_icmp
from tcpcryptd.wire.options import OptionError
from tcpcryptd.wire.segment import SYN, MalformedPacket, Segment, Unseen, locate, reverse_key
from tcpcryptd.wire.words import uint16

_PLAIN_IPV4_HEADER: Final = 0x45  # Version 4, five words: no IP options.
_TCP: Final = 6
_FRAGMENT: Final = 0x3FFF


class Engine:
    """All connections of one host, or of one worker's share of it."""

    def __init__(
        self,
        config: EngineConfig,
        protocols: Sequence[ProtocolFactory],
        random: Callable[[int], bytes] = os.urandom,
        path_mtu: PathMtu = lambda _: None,
        sessions: SessionStore | None = None,
        stock: Stock | None = None,
        recent_path_mtu: PathMtu | None = None,
    ) -> None:
        """Make an engine.

        Args:
            config: What it may and must do.
            protocols: What it speaks; the first one that an opening can belong to takes it.
            random: Gives so many bytes that nobody can guess.
            path_mtu: Bytes of IP packet that reach a host, given its address of 4 or 16 bytes; None: not known.
            recent_path_mtu: The same as of a moment ago, for SYNs; None: `path_mtu`.
            sessions: Where sessions are kept to be resumed; None: in a cache of its own.
            stock: What the protocols draw from; the engine's owner refills it.
        """
        self.stock = stock
        self._protocols = {protocol.name: protocol for protocol in protocols}
        self._table = FlowTable(config.max_connections, config.max_opening, config.max_closed, config.max_plain_records)
        self._services = Services(config, random, path_mtu, recent_path_mtu, self._table, sessions)
        self._reported: set[str] = set()
        self.admission = Admission()
        """To be told of how far the packets are handled."""
        self._first_packets = FirstPackets(self._services, self._table, self._protocols, self.admission)
        self._services.first_packet = self._first_packets.handle

    def handle_packet(
        self,
        packet: bytes,
        direction: Direction,
        now: float,
        diverted_as: ConnectionClass = ConnectionClass.UNDECIDED,
        route: int = 0,
    ) -> WholeVerdict:
        """As `handle`, with the new packet in one piece."""
        action, replacement, connection_class = self.handle(packet, direction, now, diverted_as, route)
        return action, None if replacement is None else joined(replacement), connection_class

    def handle(
        self, packet: bytes, direction: Direction, now: float, diverted_as: ConnectionClass, route: int
    ) -> Verdict:
        """The verdict on a diverted packet.

        `packet` starts with the IP header; `now` is in seconds and never goes back; `diverted_as` is the class under
        which the firewall diverted it; `route` says by which way it leaves, or came: the connection keeps it, and it
        comes back with what is injected. An exception is a bug: it is counted, and the packet is dropped when the
        connection is encrypted or has to be, and else accepted.
        """
        connection = None
        try:
            offset, key = _locate(packet)
            table = self._table
            connection = (table.outbound if direction == Direction.OUT else table.inbound).get(key)
            if connection is None:
                self._services.route = route
                return self._first_packets.handle(Segment(packet, offset), direction, now, diverted_as)
            if direction == Direction.OUT:
                connection.route = route
                return connection.outbound(packet, offset, now)
            return connection.inbound(packet, offset, now)
        except Unseen as unseen:
            self._services.counters[unseen.counter] += 1
            return DROP
        except (MalformedPacket, OptionError):
            if connection is None and is_icmp(packet):
                return self._handle_icmp_error(packet, direction, diverted_as)
            self._services.counters["malformed"] += 1
        except Exception as error:
            self._report(error)
            if direction == Direction.IN and self._belongs_to_a_protocol(packet):
                return DROP
        encrypted = connection is not None and (connection.connection_class.is_encrypted or connection.must_encrypt)
        return DROP if encrypted or diverted_as.is_encrypted else ACCEPT

    def _handle_icmp_error(self, packet: bytes, direction: Direction, diverted_as: ConnectionClass) -> Verdict:
        try:
            return translated(packet, direction, self._services, self._table, diverted_as)
        except MalformedPacket:
            self._services.counters["malformed"] += 1
        except Exception as error:
            self._report(error)
        # What goes out may quote plaintext.
        return DROP

    def outgrown(self, packet: bytes) -> None:
        """Notes a packet that was too large and comes in segments; `packet` has its first bytes."""
        try:
            _, key = locate(packet, whole=False)
        except MalformedPacket:
            return
        connection = self._table.outbound.get(key)
        if connection is not None and not connection.outgrown:
            connection.outgrown = True
            self._services.counters["outgrown"] += 1

    def holds(self, packet: bytes) -> bool:
        """Whether a packet that could not be handled, of which this is the beginning, must not pass.

        It opens a connection, or is of one whose handshake is not over or that was reset.
        """
        try:
            offset, key = locate(packet, whole=False)
        except MalformedPacket as error:
            return isinstance(error, Unseen)
        known = key in self._table.outbound or key in self._table.inbound
        was_reset = key in self._services.tombstones or reverse_key(key) in self._services.tombstones
        return known or was_reset or packet[offset + 13] & SYN != 0

    def _belongs_to_a_protocol(self, packet: bytes) -> bool:
        """Whether a packet that could not be handled holds what no application may see."""
        try:
            segment = Segment(packet, locate(packet)[0])
            return any(protocol.recognizes(segment) is not None for protocol in self._protocols.values())
        except MalformedPacket:
            return False

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due, on the clock of `now`; None: not before the next packet."""
        return self._services.timers.next_timeout()

    def handle_timeout(self, now: float) -> None:
        """Runs what is due: retransmissions, and the end of idle connections."""
        self._services.timers.run(now, self._report)

    def packets_to_inject(self) -> list[Routed]:
        """The daemon's own packets to send, with their routes; hands each over once."""
        afterwards, self._services.afterwards = self._services.afterwards, []
        for action in afterwards:
            try:
                action()
            except Exception as error:
                self._report(error)
        waiting = list(self._services.injections)
        self._services.injections.clear()
        return waiting

    def handle_undeliverable(self, packet: bytes, direction: Direction, now: float) -> None:
        """Notes that this host refused one of these packets for good."""
        if direction is Direction.OUT:
            self._handle_refusal(packet, now, lambda connection: connection.undeliverable(now))

    def handle_cut_off(self, packet: bytes, now: float) -> None:
        """Ends a connection whose sealed segments (SPLIT) this host does not let out, if it cannot go on otherwise."""
        self._handle_refusal(packet, now, _cut_off)

    def _handle_refusal(self, packet: bytes, now: float, end: Callable[[Connection], bool | None]) -> None:
        try:
            connection = self._table.outbound.get(_locate(packet)[1])
            if connection is not None and end(connection) is not False:
                self._services.counters["undeliverable"] += 1
                self._services.unreachable.add(connection.peer_address, now)
        except Exception as error:
            self._report(error)

    def waiting_events(self) -> int:
        """The number of events that were not collected yet."""
        return len(self._services.events)

    def next_event(self) -> Event | None:
        """The oldest event that was not collected yet."""
        return self._services.events.popleft()() if self._services.events else None

    def connections(self) -> Iterator[ConnectionInfo]:
        """All connections, including those that are only remembered: see FlowTable.infos."""
        return self._table.infos()

    def hosts(self) -> Iterator[HostInfo]:
        """The hosts whose identity was checked, the latest ones last."""
        return iter(self._services.hosts)

    def connection(self, local: Endpoint, remote: Endpoint) -> ConnectionInfo | None:
        """What is known of one connection; raises ValueError for what is not an IP address."""
        return self._table.find(flow_key(local, remote))

    def options(self, local: Endpoint, remote: Endpoint | None = None) -> ConnectionOptions | None:
        """The options for a connection, None when there is none; without `remote` those for its local end's next ones.

        Raises ValueError for what is not an IP address.
        """
        if remote is None:
            return self._services.options.get(local)
        connection = self._find(local, remote)
        return connection.options if connection is not None else None

    def set_options(self, options: ConnectionOptions, local: Endpoint, remote: Endpoint | None = None) -> bool:
        """Replaces the options; False when there is no such connection. Raises ValueError as `options` does.

        Of an open connection `secure_reset` and `cache` still have an effect.
        """
        if remote is None:
            self._services.options.set(local, options)
            return True
        connection = self._find(local, remote)
        if connection is not None:
            connection.options = options
        return connection is not None

    def endpoints_with_options(self) -> list[Endpoint]:
        """The local ends for which options are kept, so that the caller can see which sockets are gone."""
        return self._services.options.endpoints()

    def rekey(self, local: Endpoint, remote: Endpoint) -> bool:
        """Replaces a connection's keys; False when it is not encrypted. Raises ValueError as `options` does."""
        connection = self._table.settled(flow_key(local, remote))
        return connection is not None and connection.rekey()

    def reset(self, local: Endpoint, remote: Endpoint) -> bool:
        """Ends a connection at both ends; False when it is not known. Raises ValueError as `options` does."""
        connection = self._find(local, remote)
        if connection is not None:
            connection.reset()
        return connection is not None

    def was_reset(self, local: Endpoint, remote: Endpoint) -> bool:
        """Whether such a connection was reset, and no new one took its place; see `Tombstones`."""
        return flow_key(local, remote) in self._services.tombstones

    def flush_session(self, local: Endpoint, remote: Endpoint) -> bool:
        """Forgets what a connection left to be resumed; False when it is not known. Raises ValueError as `options`."""
        connection = self._find(local, remote)
        if connection is not None:
            connection.flush_session()
        return connection is not None

    def flush_sessions(self) -> int:
        """Forgets all sessions that could be resumed; returns their number."""
        return self._services.sessions.flush()

    def review_identities(self, judge: Judge) -> None:
        """Ends connections with peers that are not trusted any more, after the list of peers has changed."""
        review(self._table, judge)

    def _find(self, local: Endpoint, remote: Endpoint) -> Connection | None:
        return self._table.outbound.get(flow_key(local, remote))

    def counters(self) -> dict[str, int]:
        """Counts since the start, and how many connections there are now."""
        counts = dict(self._services.counters) | self._table.counts()
        return counts | {
            "sessions": len(self._services.sessions),
            "black_hole_hosts": len(self._services.black_holes),
            "black_hole_networks": self._services.black_holes.networks,
            "keys_made_on_demand": self.stock.made_on_demand if self.stock is not None else 0,
        }

    def shut_down(self, now: float) -> None:
        """Resets all connections that cannot go on without the daemon; the resets wait in `packets_to_inject`."""
        for connection in self._table:
            try:
                connection.reset()
            except Exception as error:
                self._report(error)

    def _report(self, error: Exception) -> None:
        if lacks_memory(error):
            # No bug, and nothing that there would be memory to tell with.
            self._services.counters["memory_shortages"] += 1
            return
        self._services.counters["internal_errors"] += 1
        place = raised_at(error)
        if place not in self._reported:
            self._reported.add(place)
            # The message may quote what it failed on, a secret for all we know.
            event = InternalError(f"{type(error).__name__} at {place}")
            self._services.emit(lambda: event)


def _locate(packet: bytes) -> tuple[int, bytes]:
    """`locate`, with a short cut for headers without options."""
    if len(packet) >= 40 and packet[0] == _PLAIN_IPV4_HEADER:
        if uint16(packet, 2) == len(packet) and packet[9] == _TCP and not uint16(packet, 6) & _FRAGMENT:
            return 20, packet[12:24]
    elif len(packet) >= 60 and packet[0] >> 4 == 6 and uint16(packet, 4) + 40 == len(packet) and packet[6] == _TCP:
        return 40, packet[8:44]
    return locate(packet)


def _cut_off(connection: Connection) -> bool:
    if connection.state is not None and connection.state.cut_off():
        return False
    connection.reset()
    return True
