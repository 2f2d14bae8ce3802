"""A host: a kernel, perhaps a daemon's engine at its border, and the firewall's connection marks between them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import Event, Negotiated
from tcpcryptd.core.verdict import Action, ConnectionClass, Direction
from tcpcryptd.netio.packets.forwarded import cut
from tcpcryptd.wire.segment import FIN, RST, MalformedPacket, Segment, adjacent_packets, locate, reverse_key
from tests.machine.clock import Clock
from tests.machine.link import Link
from tests.machine.stack import Stack, folded_sum


@dataclass
class Tracked:
    """The connection tracker's entry."""

    mark: ConnectionClass = ConnectionClass.UNDECIDED
    finished: set[Direction] = field(default_factory=set)


class Host:
    """Diverts packets as the daemon's firewall rules do (docs/architecture.md#diversion)."""

    def __init__(self, clock: Clock, link: Link, name: str, address: str, engine: Engine | None = None) -> None:
        self.clock, self.link, self.name, self.address = clock, link, name, address
        self.engine = engine
        self.stack = Stack(clock, address, f"{name} {address}", self._send)
        self.stack.emit_whole = self._send_whole
        self.diverted_whole = 0
        """Packets that the daemon was given before they were cut."""
        self.injected: list[bytes] = []
        """What the daemon has sent to the kernel itself."""
        self.events: list[Event] = []
        self.refuses: Callable[[Direction], bool] = lambda _direction: False
        """Whether this host's firewall drops what the daemon makes itself."""
        self.tracked: dict[bytes, Tracked] = {}
        self.diverted = 0
        self.lag: Callable[[], float] | None = None
        """Seconds that the next packet waits behind those before it in its queue, in a daemon with too much to do."""
        self.sleeps = False
        """The daemon runs no timer, only what packets make it do."""
        self._free = dict.fromkeys(ConnectionClass, 0.0)
        self._wake_up: float | None = None
        link.attach(name, self.receive)

    @property
    def daemon(self) -> Engine:
        """The engine of a host that has one."""
        assert self.engine is not None
        return self.engine

    @property
    def negotiated(self) -> list[Negotiated]:
        """The connections that have got keys, the latest last."""
        return [event for event in self.events if isinstance(event, Negotiated)]

    def receive(self, packet: bytes) -> None:
        """A packet from the wire. A wrong IP header checksum does not get as far as the firewall."""
        if packet[0] >> 4 == 4 and folded_sum(packet[: (packet[0] & 0xF) * 4]) != 0xFFFF:
            return
        self._divert(packet, Direction.IN, self.stack.receive)

    def receive_error(self, packet: bytes, key: bytes) -> None:
        """An ICMP error about a segment of this host's with this flow key, diverted when that is encrypted."""
        entry = self.tracked.get(key, Tracked())
        if entry.mark.is_encrypted and self.engine is not None:
            self._handle(packet, Direction.IN, self.stack.receive, Tracked(), ConnectionClass.UNDECIDED)
        else:
            self.stack.receive(packet)

    def kill_engine(self) -> None:
        self.engine = None

    def start_engine(self, engine: Engine) -> None:
        self.engine = engine

    def shut_down_engine(self) -> None:
        """An orderly stop: what the engine sends last still goes out, then its rules are gone."""
        self.daemon.shut_down(self.clock.now)
        self.collect()
        self.clock.run_for(0.0)
        self.engine = None
        self.tracked.clear()

    def _send(self, packet: bytes) -> None:
        # The kernel hands a packet over when it is done with what it was doing.
        transmit: Callable[[bytes], None] = lambda data: self.link.send(self.name, data)  # noqa: E731
        self.clock.after(0.0, lambda: self._divert(packet, Direction.OUT, transmit))

    def _send_whole(self, packet: bytes, segment_size: int) -> None:
        # Only the queue for connections of this class has the flag that lets packets come whole.
        if self.engine is not None and self._track(packet, Direction.OUT).mark is ConnectionClass.STREAM:
            self.diverted_whole += 1
            self._send(packet)
            return
        segment = Segment(packet, locate(packet)[0])
        for piece in cut(packet, len(packet) - segment.payload_length + segment_size):
            self._send(piece)

    def _divert(self, packet: bytes, direction: Direction, onward: Callable[[bytes], None]) -> None:
        entry = self._track(packet, direction)
        if entry.mark is ConnectionClass.PLAIN:
            onward(packet)
            return
        if self.engine is None:
            if entry.mark is ConnectionClass.UNDECIDED:
                onward(packet)
            return
        self.diverted += 1
        if self.lag is None:
            self._handle(packet, direction, onward, entry, entry.mark)
            return
        mark = entry.mark
        self._free[mark] = max(self._free[mark], self.clock.now) + self.lag()
        self.clock.at(self._free[mark], lambda: self._handle(packet, direction, onward, entry, mark))

    def _handle(
        self,
        packet: bytes,
        direction: Direction,
        onward: Callable[[bytes], None],
        entry: Tracked,
        diverted_as: ConnectionClass,
    ) -> None:
        if self.engine is None:
            return
        action, changed, connection_class = self.engine.handle_packet(packet, direction, self.clock.now, diverted_as)
        if action is Action.SPLIT:
            assert changed is not None
            for piece in adjacent_packets(changed):
                onward(piece)
        elif action is not Action.DROP:
            if connection_class is not ConnectionClass.UNDECIDED:
                entry.mark = connection_class
            onward(packet if changed is None else changed)
        self.collect()

    def collect(self) -> None:
        """What the daemon's loop does after each packet and timer."""
        if self.engine is None:
            return
        refused = False
        for direction, packet, _ in self.engine.packets_to_inject():
            if self.refuses(direction):
                refused = True
                self.engine.handle_undeliverable(packet, direction, self.clock.now)
            elif direction is Direction.OUT:
                self.link.send(self.name, packet)
            else:
                self.injected.append(packet)
                self.clock.after(0.0, lambda packet=packet: self.stack.receive(packet))  # type: ignore[misc]
        if refused:
            self.collect()
        while (event := self.engine.next_event()) is not None:
            self.events.append(event)
        self._set_alarm()

    def _set_alarm(self) -> None:
        due = self.engine.next_timeout() if self.engine is not None and not self.sleeps else None
        if due is not None and (self._wake_up is None or due < self._wake_up):
            self._wake_up = due
            self.clock.at(due, lambda: self._alarm(due))

    def _alarm(self, due: float) -> None:
        if self._wake_up != due:
            return
        self._wake_up = None
        if self.engine is not None:
            self.engine.handle_timeout(self.clock.now)
            self.collect()

    def _track(self, packet: bytes, direction: Direction) -> Tracked:
        try:
            offset, flow = locate(packet)
            segment = Segment(packet, offset)
        except MalformedPacket:
            return Tracked()
        if direction is Direction.IN and not segment.checksum_is_right:
            # Invalid to the tracker (nf_conntrack_checksum).
            return Tracked()
        key = flow if direction is Direction.OUT else reverse_key(flow)
        entry = self.tracked.setdefault(key, Tracked())
        if segment.is_opening and len(entry.finished) == 2:
            entry = self.tracked[key] = Tracked()
        if segment.flags & RST:
            entry.finished = set(Direction)
        elif segment.flags & FIN:
            entry.finished.add(direction)
        return entry
