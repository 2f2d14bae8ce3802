"""One netfilter queue: whole packets to the engine, its verdicts and marks back to the kernel."""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from tcpcryptd.core.verdict import Action, ConnectionClass, Direction, Gathered, Verdict, joined
from tcpcryptd.netio.errors import QueueError
from tcpcryptd.netio.kernel.nfqueue import DivertedPacket
from tcpcryptd.netio.kernel.queue_binding import bind as _bind
from tcpcryptd.netio.kernel.queue_binding import configure
from tcpcryptd.netio.kernel.route import FORWARDED, INTERFACE_SHIFT
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets.forwarded import fitting, needs_sending
from tcpcryptd.netio.packets.merging import Merger
from tcpcryptd.netio.packets.offload_guard import OffloadGuard
from tcpcryptd.netio.packets.passage import HOOK_FORWARD, HOOK_LOCAL_OUT, Passage
from tcpcryptd.netio.packets.queue_reader import Reader
from tcpcryptd.netio.packets.seen_routes import SeenRoutes
from tcpcryptd.netio.packets.verdicts import NF_ACCEPT, NF_DROP, VerdictSender
from tcpcryptd.wire.icmp import is_icmp

PacketHandler = Callable[[bytes, Direction, float, ConnectionClass, int], Verdict]
Inject = Callable[[Direction, bytes, int], object]


class Delivery(NamedTuple):
    """How a queue sends by itself, and what keeps connections of hosts behind this one out of flowtables."""

    inject: Inject
    guard: OffloadGuard | None


class Outlet(Protocol):
    """Takes what the engine has cut into packets; see tcpcryptd.netio.packets.outlet."""

    waiting: int
    """How many calls of `send` are not finished."""

    def send(self, packets: bytes, route: int, done: Callable[[], None]) -> bool:
        """Sends adjacent packets; calls `done` later, unless it returns that they are sent."""

    def is_waiting(self, packet: bytes, route: int) -> bool:
        """Whether this one would overtake packets of its connection."""


QUEUE_LENGTH: Final = 4096
"""Packets that may wait in the kernel."""
SOCKET_BUFFER: Final = 4 << 20
SOCKET_BUFFER_GSO: Final = 16 << 20
"""Bytes."""
BATCH: Final = 64
"""Packets handled at most before the event loop gets its turn again."""
ANSWERS: Final = 8
"""Packets of another queue handled at most, of which one is the local kernel's answer to a packet of this one."""
BATCH_BYTES: Final = 1 << 20
"""Bytes of packets after which it gets its turn, however few they are."""

_DRAIN_BATCHES: Final = 16
"""Batches of segments that a packet of half a MiB, the largest one, can be cut into."""
_LIBRARY_COPY_RANGE: Final = 4016
_HOOK_PRE_ROUTING: Final = 0
_HOOK_POST_ROUTING: Final = 4
_HOP_BY_HOP: Final = 0
"""IPv6's next header."""

_OVERSIZE: Final = (
    "queue %d: some packets are too large for it; they are handled segment by segment, which is slower. "
    "tcpcryptd doctor names the links that have them"
)

_log = logging.getLogger(__name__)


class PacketQueue:
    """A bound queue whose packets the firewall diverted because their connection is of one class.

    Raises QueueError when the queue cannot be bound.
    """

    def __init__(
        self,
        number: int,
        diverted_as: ConnectionClass,
        handler: PacketHandler,
        marks: MarkScheme,
        gso: bool = False,
        delivery: Delivery | None = None,
        outlet: Outlet | None = None,
        on_batch: Callable[[int, bool], None] = lambda _queue, _more: None,
    ) -> None:
        """`on_batch`: see `Admission.handled`.

        `outlet` takes what SPLIT puts in the place of a packet; without it such packets are dropped.
        """
        self.number = number
        self.diverted_as = diverted_as
        self.packets = 0
        self.bytes_in = 0
        self.bytes_out = 0
        """Of IP packets as they came from the kernel."""
        self.seconds = 0.0
        """Spent on packets: reading, handling and verdicts."""
        self.truncated = 0
        self.oversize = 0
        self.segmenting: PacketQueue | None = None
        """Takes what is too large for a message: the kernel cuts packets into segments before it puts them there."""
        self._drains = self._delivers = False
        """Whether packets were too large for another queue, and whether what comes in is injected then."""
        self.on_oversize: Callable[[bytes], None] = lambda _: None
        """Given the beginning of each such packet."""
        self.holds: Callable[[bytes], bool] = lambda _: False
        """Whether a packet that could not be handled must not pass although its connection is undecided."""
        self._forwarded_drop = False
        self.answers: Mapping[ConnectionClass, PacketQueue] = {}
        """Where the local kernel's answers go to a packet that changes its connection's class."""
        self.next_worker: int | None = None
        """The queue of the worker that may know what this one does not."""
        self.exceptions = 0
        self.seen = SeenRoutes()
        self._handler = handler
        self._foreign = marks.foreign
        self._inject = delivery.inject if delivery is not None else None
        self._guard = delivery.guard if delivery is not None else None
        self._outlet = outlet
        self._on_batch = on_batch
        self._waits_outwards = False
        """Whether a verdict on a packet that goes out waits to be sent."""
        self._answering: PacketQueue | None = None
        self._now = 0.0
        self._queue = _bind(number, QUEUE_LENGTH, SOCKET_BUFFER_GSO if gso else SOCKET_BUFFER)
        # A duplicate: the library closes its own descriptor.
        self._socket = socket.socket(fileno=os.dup(self._queue.get_fd()))
        self._reader = Reader(self._socket)
        self._verdicts = VerdictSender(number, self._socket)
        self._passage = Passage(self._verdicts, marks, diverted_as)
        self._merger = Merger(self._passage, self._verdicts, lambda: outlet is not None and outlet.waiting > 0)
        try:
            self._configure(gso)
        except QueueError:
            self.close()
            raise

    def _configure(self, gso: bool) -> None:
        early, knows_connections = configure(self._socket, self.number, QUEUE_LENGTH, gso, self._guard is not None)
        if not knows_connections:
            self._guard = None
        self._reader.put_back(early)

    def fileno(self) -> int:
        """The netlink socket's descriptor."""
        return self._socket.fileno()

    def handle_ready(self) -> None:
        """Handles the packets that wait, up to BATCH or BATCH_BYTES. They share one reading of the clock.

        Verdicts on many are sent together; one on a packet that came alone is what somebody waits for.
        """
        self._handle_batch(BATCH)
        self._on_batch(self.number, self._reader.is_limited)

    def _handle_batch(self, size: int) -> None:
        begun = self._now = time.monotonic()
        self._reader.begin(size, BATCH_BYTES)
        while (packet := self._reader.next()) is not None:
            self._handle(packet)
            if self._answering is not None:
                begun += self._handle_answer(self._answering)
            elif not self._reader.is_busy:
                self._flush()
        self._flush()
        self.seconds += time.monotonic() - begun

    def _handle_answer(self, queue: "PacketQueue") -> float:
        """What the local kernel has answered within the verdict, to another queue; how long that took, in seconds.

        Connections opened later may be here already, and would be accepted first. It is not looked for behind many
        other packets, which would hold the handshakes here up.
        """
        self._answering = None
        self._flush()
        before = time.monotonic()
        queue._handle_batch(ANSWERS)
        self._now = time.monotonic()
        return self._now - before

    def forward_nothing(self) -> None:
        """Drops what rules of a daemon that was killed divert because that one encrypted it for hosts behind this one.

        A reset could miss, and would end connection tracking's memory of what must not go on in clear.
        """
        self._forwarded_drop = self.diverted_as.is_encrypted

    def drain(self, delivers: bool) -> None:
        """Handles the segments of a packet that was too large; `delivers`: the local kernel gets them by injection."""
        self._drains, self._delivers = True, delivers
        for _ in range(_DRAIN_BATCHES):
            self.handle_ready()
            if not self._reader.is_limited:
                break
        self._drains = self._delivers = False

    def counters(self) -> dict[str, int]:
        """Packets and bytes seen, and the time they took.

        Also packets that were too large and cut by the kernel, those that came incomplete, exceptions while one was
        handled, and verdicts the kernel refused.
        """
        return {
            "packets": self.packets,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "nanoseconds": round(self.seconds * 1e9),
            "oversize": self.oversize,
            "truncated": self.truncated,
            "exceptions": self.exceptions,
            "merged": self._merger.merged,
            "verdict_errors": self._verdicts.errors,
        }

    def close(self) -> None:
        """Unbinds the queue; the kernel drops what still waits in it."""
        self._queue.unbind()
        self._socket.close()

    def _handle(self, packet: DivertedPacket) -> None:
        try:
            payload = packet.payload
            self.packets += 1
            size = len(payload)
            if size >= _LIBRARY_COPY_RANGE and is_truncated(payload):
                self._handle_truncated(packet)
                return
            hook = packet.hook
            direction = self._passage.direction(hook, packet.mark)
            if direction is None or (hook == HOOK_FORWARD and self._forwarded_drop):
                self._verdicts.add(packet.identifier, NF_ACCEPT if direction is None else NF_DROP)
                return
            route = self._route(packet)
            if hook == _HOOK_POST_ROUTING:
                self.seen.note(payload, route)
                self._passage.let(packet, ConnectionClass.UNDECIDED, packet.mark)
                return
            if direction is Direction.OUT:
                self.bytes_out += size
            else:
                self.bytes_in += size
            if is_icmp(payload):
                self._handle_error(packet, direction)
                return
            action, replacement, connection_class = self._handler(
                payload, direction, self._now, self.diverted_as, route
            )
            if action is Action.DROP or (
                hook == HOOK_FORWARD
                and self._guard is not None
                and not self._guard.admit(packet.tracked(), payload, connection_class is ConnectionClass.PLAIN)
            ):
                self._verdicts.add(packet.identifier, NF_DROP)
            elif action is Action.SPLIT or (direction is Direction.OUT and self._would_overtake(route, replacement)):
                self._send_pieces(packet, replacement, route)
            elif (
                (hook == HOOK_FORWARD or self._delivers)
                and direction is Direction.IN
                and (connection_class is self.diverted_as or self._drains)
                and self._resent(route, size, replacement)
            ):
                self._verdicts.add(packet.identifier, NF_DROP)
            else:
                self._let_through(packet, connection_class, route, replacement)
        except Exception as error:
            self._handle_exception(packet, error)

    def _let_through(
        self,
        packet: DivertedPacket,
        connection_class: ConnectionClass,
        route: int,
        replacement: bytes | Gathered | None,
    ) -> None:
        if packet.hook == _HOOK_PRE_ROUTING and self.diverted_as.is_encrypted:
            self._merger.add(packet, connection_class, route & self._foreign, replacement)
        else:
            if packet.hook == _HOOK_PRE_ROUTING:
                self._answering = self.answers.get(connection_class)
            else:
                self._waits_outwards = True
            self._passage.let(packet, connection_class, route, replacement)

    def _handle_error(self, packet: DivertedPacket, direction: Direction) -> None:
        """An ICMP error about an encrypted connection."""
        action, replacement, _ = self._handler(packet.payload, direction, self._now, self.diverted_as, 0)
        if action is Action.DROP:
            self._verdicts.add(packet.identifier, NF_DROP)
        elif action is Action.MODIFY:
            self._passage.let(packet, ConnectionClass.UNDECIDED, packet.mark, replacement)
        elif self.next_worker is not None:
            self._verdicts.pass_on(packet.identifier, self.next_worker)
        else:
            self._decide_unseen(packet)

    def _route(self, packet: DivertedPacket) -> int:
        """See tcpcryptd.netio.kernel.route."""
        route = packet.interface << INTERFACE_SHIFT | packet.mark & self._foreign
        if packet.hook == HOOK_LOCAL_OUT and self.seen.routes:
            return self.seen.of(packet.payload, route)
        return route | FORWARDED if packet.hook == HOOK_FORWARD else route

    def _send_pieces(self, packet: DivertedPacket, pieces: bytes | Gathered | None, route: int) -> None:
        """Sends what the packet was cut into, in its place: after what left before it."""
        if self._waits_outwards:
            self._flush()
        packet_id = packet.identifier
        outlet = self._outlet
        if pieces is None or outlet is None or outlet.send(joined(pieces), route, lambda: self._gone(packet_id)):
            self._verdicts.add(packet_id, NF_DROP)

    def _gone(self, packet_id: int) -> None:
        """The pieces have found room: now the kernel may send more."""
        self._verdicts.add(packet_id, NF_DROP)
        self._verdicts.flush()

    def _would_overtake(self, route: int, replacement: bytes | Gathered | None) -> bool:
        outlet = self._outlet
        return (
            outlet is not None
            and outlet.waiting > 0
            and replacement is not None
            and outlet.is_waiting(joined(replacement), route)
        )

    def _flush(self) -> None:
        self._merger.flush()
        self._verdicts.flush()
        self._waits_outwards = False

    def _resent(self, route: int, size: int, gathered: bytes | Gathered | None) -> bool:
        """Sends by itself what the kernel would not forward, or find the TCP header of, in the place of the packet."""
        if self._inject is None or gathered is None:
            return False
        replacement = joined(gathered)
        if not route & FORWARDED:
            self._inject(Direction.IN, replacement, route)
            return True
        if not needs_sending(size, replacement, self._now):
            return False
        for piece in fitting(replacement, self._now):
            self._inject(Direction.IN, piece, route)
        return True

    def _handle_truncated(self, packet: DivertedPacket) -> None:
        """Only a part of the packet fits a message. Where the kernel may still cut it, it does so for another queue."""
        if self.segmenting is None:
            self.truncated += 1
            self._decide_unseen(packet)
            return
        self.oversize += 1
        if self.oversize == 1:
            _log.warning(_OVERSIZE, self.number)
        self.on_oversize(packet.payload)
        self._verdicts.pass_on(packet.identifier, self.segmenting.number)
        # Now, so that nothing of its connection that waits here overtakes it.
        self._waits_outwards = False
        payload = packet.payload
        # Linux looks for the segments' TCP header where it was behind the jumbo payload option, which they do not have.
        misplaced = packet.hook == _HOOK_PRE_ROUTING and payload[0] >> 4 == 6 and payload[6] == _HOP_BY_HOP
        self.segmenting.drain(delivers=misplaced)

    def _decide_unseen(self, packet: DivertedPacket) -> None:
        # Only our copy may be cut: what goes on is the kernel's.
        if self.diverted_as.is_encrypted or self.holds(packet.payload):
            self._verdicts.add(packet.identifier, NF_DROP)
        else:
            self._passage.let(packet, ConnectionClass.UNDECIDED, packet.mark)

    def _handle_exception(self, packet: DivertedPacket, error: Exception) -> None:
        self.exceptions += 1
        if self.exceptions == 1:
            # The message may quote what it failed on.
            name = type(error).__name__
            _log.error("queue %d: %s while a packet was handled; further ones are only counted", self.number, name)
        # Where there has been a verdict already, the kernel refuses this one.
        self._decide_unseen(packet)


def is_truncated(packet: bytes) -> bool:
    """Whether the IP header announces another length than arrived; 0 stands for more than 65,535 bytes."""
    if packet[0] >> 4 == 4:
        return int.from_bytes(packet[2:4], "big") != len(packet)
    return int.from_bytes(packet[4:6], "big") + 40 != len(packet)
