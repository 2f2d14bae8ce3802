"""The first packet of a connection that the engine does not know: what it is, and which protocol takes it."""

from collections.abc import Mapping, Sequence

from tcpcryptd.core.admission import Admission
from tcpcryptd.core.connection import Connection
from tcpcryptd.core.flow_key import endpoints, local_address, peer_address
from tcpcryptd.core.flow_table import FlowTable
from tcpcryptd.core.orphan import Orphan
from tcpcryptd.core.protocol import Origin, ProtocolFactory, Stray
from tcpcryptd.core.services import Services
from tcpcryptd.core.verdict import ACCEPT, ACCEPT_PLAIN, DROP, Action, ConnectionClass, Direction, Verdict
from tcpcryptd.wire.segment import ACK, RST, SYN, Segment, make, reverse_key


class FirstPackets:
    """Opens connections, and refuses what belongs to none."""

    def __init__(
        self, services: Services, table: FlowTable, protocols: Mapping[str, ProtocolFactory], admission: Admission
    ) -> None:
        self._services = services
        self._config = services.config
        self._table = table
        self._protocols = protocols
        self._admission = admission

    def handle(self, segment: Segment, direction: Direction, now: float, diverted_as: ConnectionClass) -> Verdict:
        """The verdict on it; `diverted_as`: the class under which the firewall diverted it."""
        flow = segment.addresses + segment.packet[segment.offset : segment.offset + 4]
        key = flow if direction is Direction.OUT else reverse_key(flow)
        encrypted = diverted_as.is_encrypted or key in self._services.tombstones
        # A peer's SYN is not authentic: it does not end a connection that an earlier daemon encrypted.
        if segment.is_opening and not (encrypted and direction is Direction.IN):
            return self._admit(key, segment, direction, now)
        remote = endpoints(key)[1].address
        # Its handshake may have been open when an earlier daemon ended. What comes in may have any sender.
        is_open = direction is Direction.OUT and not segment.flags & (SYN | RST)
        if encrypted or (is_open and self._config.requires_identity(remote)):
            if not self._table.make_room():
                return DROP
            connection = Connection(self._services, key, Origin(False, now), "none")
            self._table.add(connection)
            return Orphan(connection).take_over(segment, direction, now)
        if segment.flags & SYN:
            if self._config.requires(remote) if direction is Direction.IN else self._config.requires_identity(remote):
                # The SYN that it answers is sent again, and that is offered, or answered, anew.
                return DROP
            # The peer may have been offered encryption by a SYN ACK that is forgotten: the next segment decides.
            return ACCEPT
        if direction is Direction.IN and segment.checksum_is_right:
            for protocol in self._protocols.values():
                stray = protocol.recognizes(segment)
                if stray is not None:
                    return self._refuse_stray(key, segment, stray)
            if self._config.requires_identity(remote) and not segment.flags & RST:
                return self._refuse_stray(key, segment, Stray.RESET)
        # Of what comes in, anybody may be the sender, and the local kernel refuses what it does not know: only what it
        # sends itself shows that there is a connection, one from before the start.
        return ACCEPT if direction is Direction.IN or segment.flags & RST else ACCEPT_PLAIN

    def _admit(self, key: bytes, syn: Segment, direction: Direction, now: float) -> Verdict:
        if direction is Direction.OUT and self._services.tombstones.opened_by(key, syn.sequence):
            # It has waited in the queue since before its connection was reset.
            return DROP
        if not self._admission.admits(direction, now):
            self._services.counters["openings_deferred"] += 1
            return DROP
        self._services.tombstones.discard(key)
        return self._open(key, syn, direction, now)

    def _refuse_stray(self, key: bytes, segment: Segment, stray: Stray) -> Verdict:
        """A plain connection cannot use the segment, and the application must not see it."""
        self._services.counters["stray"] += 1
        if stray is Stray.RESET and segment.flags & (ACK | RST) == ACK:
            # What the kernel of a host that was started anew would answer.
            reset = make(key, sequence=segment.acknowledgment, acknowledgment=segment.end, flags=RST | ACK, window=0)
            self._services.inject(Direction.OUT, reset, self._services.route)
        return DROP

    def _open(self, key: bytes, syn: Segment, direction: Direction, now: float) -> Verdict:
        """The first segment of a connection: each protocol may take it."""
        active = direction is Direction.OUT
        if not active and not syn.checksum_is_right:
            # The kernel drops it; changed, it would get a checksum that is right.
            return ACCEPT
        if not active and syn.payload_length and any(each.discards_data(syn) for each in self._protocols.values()):
            bare = syn.edited(payload=b"")
            opened = self._open(key, Segment(bare, syn.offset), direction, now)
            return (Action.MODIFY, bare, opened[2]) if opened[0] is Action.ACCEPT else opened
        if self._table.was_left_plain(key, active, syn.sequence):
            # Its SYN again, perhaps one that has waited since before it was: what came of the first one holds.
            return ACCEPT_PLAIN
        self._table.forget_plain(key)
        origin = Origin(active, now, syn.sequence)
        candidates = self._candidates(key, active, now)
        reason = "nothing is offered" if active else "the peer does not speak tcpcrypt"
        if candidates:
            withheld = self._withheld(key, active, now)
            if withheld is not None:
                candidates, reason = [], withheld
        verdict = self._taken(candidates, key, origin, syn)
        return Connection(self._services, key, origin, "none").decide_plain(reason) if verdict is None else verdict

    def _taken(self, candidates: Sequence[ProtocolFactory], key: bytes, origin: Origin, syn: Segment) -> Verdict | None:
        """The verdict of the first protocol that takes it, or of why none may; None: none does."""
        now = origin.started
        for protocol in candidates:
            connection = Connection(self._services, key, origin, protocol.name)
            if not self._table.make_room():
                self._services.counters["table_full"] += 1
                return connection.decide_plain("the table of connections is full")
            if not connection.options.enabled:
                return connection.decide_plain("the application turned encryption off")
            verdict = protocol.offer(connection, syn, now) if origin.active else protocol.answer(connection, syn, now)
            if connection.is_taken:
                self._table.add(connection)
                connection.watch_idleness()
            if verdict is not None:
                return verdict
        return None

    def _candidates(self, key: bytes, active: bool, now: float) -> list[ProtocolFactory]:
        """The protocols that may take a new connection."""
        config, remote = self._config, endpoints(key)[1].address
        names = config.offers if active else tuple(self._protocols) if config.answers is None else config.answers
        if not active:
            return [self._protocols[name] for name in names]
        name = self._services.peers.choose(peer_address(key), names, now)
        if name is None and names and config.requires(remote):
            name = names[0]
        return [] if name is None else [self._protocols[name]]

    def _withheld(self, key: bytes, active: bool, now: float) -> str | None:
        """Why nothing is offered to a destination, or answered, for the path's sake; None: it is."""
        remote, reason = peer_address(key), None
        if self._services.unreachable.has(remote, now):
            reason = "this host drops packets that the daemon sends to the peer"
        elif active:
            trusted = self._services.peers.trusts(remote, now)
            reason = self._services.black_holes.withheld(local_address(key), remote, now, trusted=trusted)
        if reason is None or (active and self._config.requires(endpoints(key)[1].address)):
            return None
        self._services.counters["offers_withheld"] += 1
        return reason
