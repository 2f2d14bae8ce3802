"""The incoming direction of an encrypted connection: verified plaintext for the local kernel, in order."""

from collections.abc import Callable
from typing import Final

from tcpcryptd.core.protocol import DROP, Action, ConnectionClass, Direction, Gathered, Verdict, joined
from tcpcryptd.eno.stream.flow import Flow
from tcpcryptd.eno.stream.inbound_stream import Delivery, Outcome, Received
from tcpcryptd.eno.stream.packets import (
    TIMESTAMP_AREA,
    TIMESTAMP_PREFIX,
    Fields,
    PacketBuilder,
    is_marked,
    marked,
    sack_blocks,
    sack_option,
    stamps,
    timestamp_area,
)
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, FIN, PSH, RST, SYN, URG, MalformedPacket, Segment, reverse_key
from tcpcryptd.wire.sequence import difference
from tcpcryptd.wire.words import uint16, uint32

_FATAL: Final = (Outcome.DAMAGED, Outcome.TRUNCATED, Outcome.INVALID)
_ANSWERED: Final = (Outcome.OUT_OF_ORDER, Outcome.OUTDATED, Outcome.EMPTY)
"""What the local kernel does not see and does not acknowledge."""


class InboundPackets:
    """Handles segments from the wire."""

    def __init__(
        self,
        flow: Flow,
        syn: Callable[[Segment, float], Verdict],
        authentic: Callable[[float], bool],
        acknowledged: Callable[[int], None],
    ) -> None:
        """Take over a connection.

        Args:
            flow: The connection.
            syn: Takes a segment with SYN.
            authentic: Told of each segment that completed a frame; whether it has sent an answer.
            acknowledged: Told the peer's acknowledgment, in wire offsets, of each segment.
        """
        self._flow = flow
        self._connection = flow.connection
        self._builder = PacketBuilder(reverse_key(flow.connection.key))
        self._syn = syn
        self._authentic = authentic
        self._acknowledged = acknowledged
        self._marked = False
        """Something that came since the last delivery has CE, which the local kernel has not seen."""
        self._template: tuple[bytes, Fields, bytes] | None = None
        """IP header, fields and options for what is withheld."""
        self.probing = False
        """A keep-alive waits for an authentic answer: no other counts (RFC 8548 section 3.9)."""

    def inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """A segment from the wire."""
        if not self._builder.checksum_is_right(packet, offset):
            self._connection.count("bad_checksum")
            return DROP
        start, flags = offset + (packet[offset + 12] >> 4) * 4, packet[offset + 13]
        if not offset + 20 <= start <= len(packet):
            raise MalformedPacket("TCP data offset")
        if flags & (SYN | RST) or not flags & ACK:
            return self._rare(Segment(packet, offset), now)
        flow, outbound = self._flow, self._flow.outbound
        wire_acknowledgment = flow.acknowledged_by_peer(uint32(packet, offset + 8))
        if wire_acknowledgment > outbound.wire_end + outbound.finished:
            self._connection.count("bad_acknowledgment")
            return DROP
        wire = flow.received(uint32(packet, offset + 4))
        if not flow.is_plausible(wire, wire_acknowledgment):
            self._connection.count("out_of_window")
            return DROP
        self._acknowledged(wire_acknowledgment)
        outbound.acknowledge(wire_acknowledgment)
        plain_acknowledgment = outbound.plain_acknowledgment(wire_acknowledgment)
        area, sacked = self._options(packet, offset, packet[offset + 20 : start])
        window = flow.shown_window(uint16(packet, offset + 14), plain_acknowledgment, now)
        news = plain_acknowledgment > flow.forwarded or window != flow.peer_window or sacked
        flow.forwarded = max(flow.forwarded, plain_acknowledgment)
        flow.peer_window = window
        flow.heard = True
        self._connection.last_seen = now
        fields = Fields(0, flow.local_number(plain_acknowledgment), flags & ~(FIN | URG), window)
        if start == len(packet) and not flags & FIN:
            if self.probing and not news:
                return DROP
            return self._acknowledgment(packet[:offset], fields, area, flow.inbound.plain_position(wire))
        received = flow.inbound.receive(wire, memoryview(packet)[start:], flags & FIN != 0)
        return self._received(packet[:offset], fields, area, received, news, now)

    def _received(
        self, ip_header: bytes, fields: Fields, area: bytes, received: Received, news: bool, now: float
    ) -> Verdict:
        outcome, deliveries = received
        flow = self._flow
        answered = False
        if outcome is Outcome.FAILED:
            self._connection.report_integrity_failure()
        elif outcome in _FATAL:
            self._connection.count(outcome.name.lower())
            self._connection.reset()
            return DROP
        elif outcome is Outcome.DELIVERED or outcome is Outcome.EMPTY:
            self.probing = False
            answered = self._authentic(now)
        elif outcome is Outcome.REFUSED:
            self._connection.count("refused_segments")
        elif outcome is Outcome.HELD:
            # PSH: the peer sends nothing more for now.
            flow.note_part(now, at_once=fields.flags & PSH != 0)
        if outcome in _ANSWERED and not answered:
            flow.acknowledge()
        if not deliveries:
            self._marked |= is_marked(ip_header)
            # The local kernel would take an acknowledgment that says nothing new for a sign of loss.
            if outcome is not Outcome.EMPTY and not news:
                return DROP
            return self._acknowledgment(ip_header, fields, area, flow.inbound.end)
        return self._hand_on(ip_header, fields, area, deliveries, now)

    def _hand_on(
        self, ip_header: bytes, fields: Fields, area: bytes, deliveries: list[Delivery], now: float
    ) -> Verdict:
        if self._marked:
            ip_header, self._marked = marked(ip_header), False
        if area[:4] == TIMESTAMP_PREFIX and stamps(area)[0] != self._flow.peer_stamp:
            # It was overtaken. The local kernel may have had the later stamp with an acknowledgment, and would drop
            # this (PAWS of RFC 7323), and what came in the segment that was first with it.
            area = TIMESTAMP_PREFIX + self._flow.peer_stamp.to_bytes(4, "big") + area[8:]
        last = deliveries[-1]
        if last.start + len(last.data) > self._flow.edge:
            self._template = ip_header, fields, area
            deliveries = self._fitting(deliveries)
        for delivery in deliveries[1:]:
            self._connection.inject(Direction.IN, joined(self._delivered(ip_header, fields, area, delivery)))
        if deliveries[-1].fin:
            self._connection.saw_closing(FIN, Direction.IN, now)
        return Action.MODIFY, self._delivered(ip_header, fields, area, deliveries[0]), ConnectionClass.STREAM

    def _fitting(self, deliveries: list[Delivery]) -> list[Delivery]:
        """What the local kernel has room for: a frame can be larger than its window. The rest is withheld for now.

        Newer kernels drop a packet of which a part is beyond the window (Linux 6.17), and the peer that was
        acknowledged a part of the frame sends the rest again only after a timeout.
        """
        flow = self._flow
        fitting: list[Delivery] = []
        for delivery in deliveries:
            if 0 <= flow.withheld <= delivery.start:
                break
            room = max(flow.edge - delivery.start, 0)
            if room < len(delivery.data):
                flow.withheld = max(flow.withheld, delivery.start + room)
                if room:
                    fitting.append(Delivery(delivery.start, delivery.data[:room], False, delivery.urgent))
                break
            fitting.append(delivery)
        # A byte that it has no room for makes the local kernel answer with its window.
        return fitting or flow.inbound.withheld(flow.withheld, flow.withheld + 1)

    def release(self) -> None:
        """Gives the local kernel held plaintext, as far as it has room now."""
        flow = self._flow
        start = max(flow.withheld, flow.acknowledged)
        flow.withheld = start
        if self._template is None or flow.edge <= start < flow.inbound.end:
            return
        ip_header, fields, area = self._template
        if area[:4] == TIMESTAMP_PREFIX:
            area = TIMESTAMP_PREFIX + flow.peer_stamp.to_bytes(4, "big") + area[8:TIMESTAMP_AREA]
        fields = Fields(0, flow.local_number(flow.forwarded), fields.flags, flow.peer_window)
        for delivery in flow.inbound.withheld(start, flow.edge):
            self._connection.inject(Direction.IN, joined(self._delivered(ip_header, fields, area, delivery)))
            if delivery.fin:
                self._connection.saw_closing(FIN, Direction.IN, self._connection.last_seen)
        flow.withheld = flow.edge if flow.edge < flow.inbound.end else -1

    def _delivered(self, ip_header: bytes, fields: Fields, area: bytes, delivery: Delivery) -> bytes | Gathered:
        flags, urgent = fields.flags | (FIN if delivery.fin else 0), 0
        if delivery.urgent is not None:
            # The pointer is behind the last urgent byte (RFC 6093, section 3.1).
            urgent = delivery.urgent + 1 - delivery.start
            flags |= URG if urgent <= 0xFFFF else 0
            urgent &= 0xFFFF
        number = self._flow.remote_number(delivery.start)
        there = Fields(number, fields.acknowledgment, flags, fields.window, urgent)
        return self._builder.gather(ip_header, there, area, delivery.data)

    def _acknowledgment(self, ip_header: bytes, fields: Fields, area: bytes, plain: int) -> Verdict:
        there = Fields(self._flow.remote_number(plain), fields.acknowledgment, fields.flags & ~PSH, fields.window)
        return Action.MODIFY, self._builder.build(ip_header, there, area, b""), ConnectionClass.STREAM

    def _options(self, packet: bytes, offset: int, area: bytes) -> tuple[bytes, bool]:
        """The option area for the local kernel, and whether it has a selective acknowledgment."""
        flow = self._flow
        if len(area) == TIMESTAMP_AREA and area[:4] == TIMESTAMP_PREFIX:
            self._saw_stamp(stamps(area)[0])
            return area, False
        stamp = timestamp_area(packet, offset, area)
        if stamp:
            self._saw_stamp(stamps(stamp)[0])
        if not flow.sack:
            return stamp, False
        blocks = [
            (flow.acknowledged_by_peer(left), flow.acknowledged_by_peer(right))
            for left, right in sack_blocks(packet, offset)
        ]
        plain = [
            (flow.local_number(left), flow.local_number(right)) for left, right in flow.outbound.plain_sack(blocks)
        ]
        sack = sack_option(plain, options.MAX_LENGTH - len(stamp))
        return stamp + sack, bool(sack)

    def _saw_stamp(self, stamp: int) -> None:
        if difference(stamp, self._flow.peer_stamp) > 0:
            self._flow.peer_stamp = stamp

    def _rare(self, segment: Segment, now: float) -> Verdict:
        if segment.flags & SYN:
            return self._syn(segment, now)
        if not segment.flags & RST or self._connection.options.secure_reset:
            return DROP
        flow = self._flow
        wire_acknowledgment = flow.acknowledged_by_peer(segment.acknowledgment)
        if not flow.is_plausible(flow.received(segment.sequence), flow.outbound.acknowledged):
            self._connection.count("out_of_window")
            return DROP
        # Only the number that is expected is obeyed (RFC 5961, section 3.2); for another one the kernel asks back. What
        # it has got and not acknowledged yet is not known: one behind all that can be expected is never exact.
        exact = segment.sequence == flow.wire_acknowledgment
        if exact:
            self._connection.saw_closing(RST, Direction.IN, now)
        plain = flow.acknowledged if exact else flow.inbound.end + 2
        acknowledgment = flow.outbound.plain_acknowledgment(wire_acknowledgment)
        packet = segment.edited(
            sequence=flow.remote_number(plain), acknowledgment=flow.local_number(acknowledgment), payload=b""
        )
        return Action.MODIFY, packet, ConnectionClass.STREAM
