"""The state that both directions of an encrypted connection share.

The local kernel's numbers count plaintext, the wire's count frames. Each space has the first byte behind the SYN at
offset 0; sequence numbers are 32-bit, offsets are not.
"""

from tcpcryptd.core.protocol import ConnectionHandle, Direction
from tcpcryptd.eno.constants import NON_SYN
from tcpcryptd.eno.limits import ACK_DELAY, MAX_EXPANSION, OLDEST_ACKNOWLEDGMENT, WINDOW_SLACK, Limits
from tcpcryptd.eno.stream.aperture import Aperture
from tcpcryptd.eno.stream.inbound_stream import InboundStream
from tcpcryptd.eno.stream.outbound_stream import OutboundStream
from tcpcryptd.eno.stream.packets import TIMESTAMP_AREA, TIMESTAMP_PREFIX, sack_option, stamps
from tcpcryptd.eno.stream.session import Session
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, make, reverse_key
from tcpcryptd.wire.sequence import MASK, add, extend
from tcpcryptd.wire.syn import Ends


class Flow:
    """Offsets, the two streams, and the latest values of each kernel."""

    def __init__(
        self,
        connection: ConnectionHandle,
        ends: Ends,
        session: Session,
        limits: Limits,
        sack: bool,
        sent: int,
        received: int,
    ) -> None:
        """Begin where the handshake ends.

        Args:
            connection: The connection.
            ends: Its two ends, as their SYNs described them.
            session: The keys.
            limits: Bounds of what is held.
            sack: Whether both SYNs permit selective acknowledgments.
            sent: Bytes of this host's Init message.
            received: Bytes of the peer's.
        """
        self.connection: ConnectionHandle = connection
        self.outbound = OutboundStream(session.outbound_keys, sent, limits)
        self.inbound = InboundStream(session.inbound_keys, received, limits)
        self.rekey_bytes = session.aead.rekey_bytes
        self.sack = sack
        self.heard = received > 0 or not self.connection.origin.active
        """Whether a segment without SYN has come from the peer; before, ours carry the ENO option (RFC 8547 4.6)."""
        self.acknowledged = 0
        """Plain: what the local kernel has acknowledged."""
        scale = ends.local.window_scale if ends.remote.window_scale is not None else None
        self.window = ends.local.window >> (scale or 0) or 1
        """As the local kernel sent it last, scaled."""
        self._scale = scale or 0
        self._widest = ends.local.window
        """Bytes: the widest window that the local kernel has opened."""
        self.edge = ends.local.window
        """Plain: behind what the local kernel has room for."""
        self.withheld = -1
        """Plain: from where on the local kernel was not given what is opened, for want of room; -1: it was."""
        self.segment = ends.local.mss
        """Bytes: what the peer sends in a segment at most."""
        self.peer_segment = ends.remote.mss
        """The same of what the peer takes."""
        self._parts = 0
        """Segments since the last acknowledgment that held a part of a frame."""
        self._told = received
        """Wire: the highest acknowledgment that the peer was sent."""
        self._wire_edge = 0
        """Wire: the end of the window that the peer was told."""
        self.stamp = ends.local.timestamp if ends.remote.timestamp is not None else None
        """TSval that the local kernel sent last."""
        self.peer_stamp = ends.remote.timestamp or 0
        self.peer_window = ends.remote.window
        """As the local kernel was shown it last, scaled."""
        self.aperture: Aperture | None = None
        self._peer_scale = (ends.remote.window_scale or 0) if ends.local.window_scale is not None else 0
        self.forwarded = 0
        """Plain: the highest acknowledgment of the peer's that the local kernel was given."""
        self._owed = False
        """Whether an acknowledgment waits for the packets at hand: the local kernel's own must not overtake it."""
        self._part_owed = False
        """The same of a part of a frame."""
        self._local = add(ends.local.isn, 1)
        self._remote = add(ends.remote.isn, 1)

    def sent(self, number: int) -> int:
        """Plain offset of a sequence number of the local kernel's."""
        return extend((number - self._local) & MASK, self.outbound.end)

    def received(self, number: int) -> int:
        """Wire offset of a sequence number of the peer's."""
        return extend((number - self._remote) & MASK, self.inbound.next_wire)

    def acknowledged_by_peer(self, number: int) -> int:
        """Wire offset of an acknowledgment number of the peer's."""
        return extend((number - self._local) & MASK, self.outbound.wire_end)

    def plain_outstanding(self, number: int) -> int | None:
        """Plain offset of a number on the wire that this host has sent and the peer has not acknowledged, else None."""
        outbound, wire = self.outbound, self.acknowledged_by_peer(number)
        is_outstanding = outbound.acknowledged <= wire <= outbound.wire_end + outbound.finished
        return outbound.plain_acknowledgment(wire) if is_outstanding else None

    def wire_received(self, number: int) -> int:
        """Wire offset of a number of the peer's, as the local kernel knows it."""
        return self.inbound.wire_acknowledgment(extend((number - self._remote) & MASK, self.inbound.end))

    def is_plausible(self, wire: int, acknowledgment: int) -> bool:
        """Whether a segment can be the peer's: its wire offset lies in a window, and its acknowledgment is not too old.

        A guess seldom passes (RFC 9293 section 3.10.7.4, RFC 5961 section 5.2). The local kernel
        cannot tell, since it is given numbers that fit.
        """
        reach = self._widest * MAX_EXPANSION + WINDOW_SLACK
        oldest = self.outbound.acknowledged - OLDEST_ACKNOWLEDGMENT
        return -reach <= wire - self.inbound.next_wire <= reach and acknowledgment >= oldest

    def shown_window(self, window: int, acknowledgment: int, now: float) -> int:
        """The part of the peer's window that the local kernel sees; it begins at a plain `acknowledgment`."""
        if self.aperture is None:
            if not self.connection.outgrown:
                return window
            self.aperture = Aperture(self._peer_scale)
        return self.aperture.shown(window, acknowledgment, self.outbound.end, now)

    def open_window(self, aperture: Aperture, now: float) -> None:
        """Shows the local kernel more of the window, when it has sent what it was shown."""
        window = aperture.sent(self.outbound.end, now)
        if window is None:
            return
        self.peer_window = window
        area = b""
        if self.stamp is not None:
            area = TIMESTAMP_PREFIX + self.peer_stamp.to_bytes(4, "big") + self.stamp.to_bytes(4, "big")
        packet = make(
            reverse_key(self.connection.key),
            sequence=self.remote_number(self.inbound.end + self.inbound.finished),
            acknowledgment=self.local_number(aperture.acknowledged),
            flags=ACK,
            window=window,
            option_area=area,
        )
        self.connection.inject(Direction.IN, packet)

    def local_number(self, offset: int) -> int:
        """Sequence number of an offset in what this host sends, in either space."""
        return (self._local + offset) & MASK

    def remote_number(self, offset: int) -> int:
        """The same of what the peer sends."""
        return (self._remote + offset) & MASK

    def note_local(self, acknowledgment: int, window: int, area: bytes) -> None:
        """Keeps the numbers, window and timestamp of a segment of the local kernel."""
        plain = extend((acknowledgment - self._remote) & MASK, self.inbound.end)
        if plain > self.acknowledged:
            self.acknowledged = plain
            self.inbound.acknowledge(plain)
        self.window = window
        room = window << self._scale
        self._widest = max(self._widest, room)
        self.edge = max(self.edge, plain + room)
        if self.stamp is not None and len(area) == TIMESTAMP_AREA:
            self.stamp = stamps(area)[0]

    @property
    def wire_acknowledgment(self) -> int:
        """The acknowledgment number that this host's segments have on the wire."""
        return self.remote_number(self.inbound.wire_acknowledgment(self.acknowledged))

    def tell(self) -> tuple[int, int]:
        """What the peer is told now: the acknowledgment number, and the window.

        The local kernel has seen nothing of a frame that is begun. What is acknowledged of it takes of the window, as
        what a kernel holds does. But a frame can be larger than the window, and the kernel empty: so there is always
        room for its rest and a segment more, for which any sender goes on (RFC 9293 section 3.8.6.2.1), unless the
        kernel has closed its window.
        """
        inbound = self.inbound
        if inbound.has_part:
            inbound.commit(self.acknowledged)
        self._parts = 0
        told = inbound.wire_acknowledgment(self.acknowledged)
        self._told = max(self._told, told)
        room = self.window << self._scale
        if told != inbound.committed or not inbound.has_part:
            self._wire_edge = max(self._wire_edge, told + room)
            return self.remote_number(told), self.window
        edge = max(self._wire_edge, inbound.wire_position(self.acknowledged) + room)
        if room and self.acknowledged == inbound.end:
            edge = max(edge, inbound.frame_end + self.segment)
        self._wire_edge = edge
        return self.remote_number(told), min(max(edge - told, 0) + (1 << self._scale) - 1 >> self._scale, 0xFFFF)

    def extra_options(self, length: int, *, with_sack: bool = True) -> bytes:
        """What a segment with `length` bytes of options has besides: held ranges, and the ENO option at first.

        A range that came twice is the first one, once (RFC 2883): the peer learns that it had not lost it. A packet
        that the kernel is still to cut goes without ranges, since they make each of its segments longer.
        """
        extra = b""
        if with_sack and self.sack and (self.inbound.duplicate is not None or self.inbound.has_gap):
            blocks = self.inbound.sack_blocks(self.inbound.wire_acknowledgment(self.acknowledged))
            if self.inbound.duplicate is not None:
                blocks.insert(0, self.inbound.duplicate)
                self.inbound.duplicate = None
            numbers = [(self.remote_number(left), self.remote_number(right)) for left, right in blocks]
            extra = sack_option(numbers, options.MAX_LENGTH - length)
        if not self.heard:
            extra += NON_SYN + b"\x01\x01"
        return extra

    def make(self, wire: int, payload: bytes = b"", flags: int = ACK) -> bytes:
        """A segment of this host's to the peer."""
        area = b""
        if self.stamp is not None:
            area = TIMESTAMP_PREFIX + self.stamp.to_bytes(4, "big") + self.peer_stamp.to_bytes(4, "big")
        acknowledgment, window = self.tell()
        return make(
            self.connection.key,
            sequence=self.local_number(wire),
            acknowledgment=acknowledgment,
            flags=flags,
            window=window,
            option_area=area + self.extra_options(len(area)),
            payload=payload,
        )

    def acknowledge(self) -> None:
        """Acknowledges received bytes and ranges held behind a hole: the local kernel does not see the wire."""
        if self.sack and self._owed:
            # One that says everything does for all; without selective acknowledgments the peer counts them.
            return
        self._owed = True
        self.connection.afterwards(self._acknowledge)

    def _acknowledge(self) -> None:
        self._owed = False
        packet = self.make(self.outbound.wire_end + self.outbound.finished)
        self.connection.inject(Direction.OUT, packet)

    def note_part(self, now: float, *, at_once: bool) -> None:
        """A segment has come in order that completes no frame, so that the local kernel sees nothing to acknowledge.

        It is acknowledged as TCP does: every second full segment at once, else after a short time, if nothing of the
        local kernel's has done so (RFC 1122 section 4.2.3.2, RFC 5681 section 4.2).
        """
        self._parts += 1
        inbound = self.inbound
        if at_once or self._parts == 2 or inbound.reach - self._told > self.segment:
            if not self._part_owed:
                self._part_owed = True
                self.connection.afterwards(self._acknowledge_part)
        else:
            self.connection.delay(now + ACK_DELAY, self._acknowledge_late)

    def _acknowledge_late(self, now: float) -> None:
        self._acknowledge_part()

    def _acknowledge_part(self) -> None:
        self._part_owed = False
        inbound = self.inbound
        inbound.commit(self.acknowledged)
        # Behind a frame that the local kernel has not acknowledged yet, its acknowledgment says this, too. The peer
        # would take one more of the same number for a sign of loss.
        if inbound.wire_acknowledgment(self.acknowledged) > self._told:
            self._acknowledge()
