"""An encrypted connection: its two directions, and the tasks that no kernel does for it (RFC 8548 sections 3.6 to 3.9).

Headers are not authenticated, by design of the protocol (RFC 8548 section 8).
"""

from collections.abc import Callable
from typing import Final

from tcpcryptd.core.protocol import (
    DROP,
    ConnectionClass,
    Description,
    Direction,
    Injection,
    ProtocolState,
    Quoted,
    Verdict,
    joined,
    modify,
)
from tcpcryptd.eno.cutting import Cutting
from tcpcryptd.eno.limits import CONFIRMATION_DELAY, EMPTY_FRAME_INTERVALS, REKEY_INTERVAL
from tcpcryptd.eno.stream.flow import Flow
from tcpcryptd.eno.stream.inbound_packets import InboundPackets
from tcpcryptd.eno.stream.init_transmission import InitTransmission
from tcpcryptd.eno.stream.outbound_packets import OutboundPackets
from tcpcryptd.eno.stream.outbound_stream import Piece
from tcpcryptd.eno.stream.session import Session
from tcpcryptd.eno.syn import for_local_kernel
from tcpcryptd.wire.segment import ACK, PSH, RST, Segment, adjacent_packets, locate, make, reverse_key
from tcpcryptd.wire.syn import refusal

_TCP_HEADER: Final = 20


class Channel(ProtocolState):
    """Seals and opens one connection's stream."""

    # For mypyc: `forget` deletes them.
    __deletable__ = ("outbound", "inbound", "_outbound_packets", "_inbound_packets")

    def __init__(
        self,
        flow: Flow,
        session: Session,
        keep: Callable[[float], None] | None,
        cutting: Cutting,
        *,
        proves: bool,
    ) -> None:
        """`keep`: keeps what the next connection can go on from; `proves`: this host has proved who it is."""
        self._connection = flow.connection
        self._proves = proves
        self._session = session
        self._keep = keep
        self._heard = False
        """Whether a frame has come: only that shows that the peer has the keys."""
        self._is_identified = self._connection.identity is None
        """It needs no frame of the peer's any more to show that the peer is the one that was identified."""
        self._flow = flow
        self._cutting = cutting
        self._sent_length = flow.outbound.wire_end
        self._init2: InitTransmission | None = None
        self._empty_tries = 0
        self._syn: Segment | None = None
        self._inbound_packets = InboundPackets(self._flow, self._inbound_syn, self._authentic, self._acknowledged)
        self._outbound_packets = OutboundPackets(
            self._flow,
            flow.segment + _TCP_HEADER,
            self._outbound_syn,
            self._probe,
            self._inbound_packets.release,
            cutting,
        )
        self.outbound = self._outbound_packets.outbound
        self.inbound = self._inbound_packets.inbound

    def begin(self, init2: InitTransmission | None, now: float) -> None:
        """From now on every segment of the connection passes here.

        `init2`: was sent at `now`; None: nothing was. No kernel stands behind it; the peer has the keys when it
        acknowledges it.
        """
        connection = self._connection
        connection.transition(self, self.outbound, self.inbound)
        connection.connection_class = ConnectionClass.STREAM
        self._init2 = init2
        if init2 is not None:
            init2.start(now)
        else:
            connection.encrypted(now)
            connection.set_timer(now + REKEY_INTERVAL, self._rekey_in_time)
            if self._session.resumed and connection.origin.active:
                # Only who has the secret knows its half of the identifier, which stood in the SYN ACK.
                self._confirm(now)
                # Not with the peer's first frame: it may have nothing to say, and the next connection comes before.
                self._remember(now)

    def received_init2(self, now: float) -> None:
        """Host A has Init2, and knows its peer if it has a proof."""
        self._flow.acknowledge()
        self._confirm(now)

    def _confirm(self, now: float) -> None:
        """This host knows its peer. The peer wants to see a frame, which in general the application's data soon is."""
        self._identified()
        if self._proves:
            self._connection.set_timer(now + CONFIRMATION_DELAY, self._show_keys)

    def _show_keys(self, now: float) -> None:
        """Sends a frame without data if there was none with data."""
        outbound = self._flow.outbound
        if outbound.wire_end > self._sent_length or not self._send_empty(outbound.empty_frame(), now):
            self._connection.set_timer(now + REKEY_INTERVAL, self._rekey_in_time)

    def _identified(self) -> None:
        if not self._is_identified:
            self._is_identified = True
            self._connection.identified()

    def send(self, packet: bytes, now: float) -> None:
        """Seals a packet that the local kernel has sent before there were keys, and sends it."""
        _, sealed, _ = self.outbound(packet, locate(packet)[0], now)
        # One packet, or those that it was cut into.
        for each in adjacent_packets(joined(sealed)):
            self._connection.inject(Direction.OUT, each)

    def describe(self) -> Description:
        """For the control socket."""
        flow = self._flow
        return self._session.describe(flow.outbound.end, flow.inbound.end, flow.outbound.generation)

    def resets(self) -> list[Injection]:
        """An RST with each sequence number that the other end may expect next, since only an exact one is obeyed."""
        flow, outbound, key = self._flow, self._flow.outbound, self._connection.key
        injections: list[Injection] = []
        for wire in {outbound.acknowledged, outbound.wire_end, outbound.wire_end + outbound.finished}:
            injections.append((Direction.OUT, flow.make(wire, flags=RST | ACK)))
        acknowledgment = flow.local_number(max(flow.forwarded, 0))
        for plain in {flow.acknowledged, flow.inbound.end, max(flow.withheld, flow.acknowledged)}:
            reset = make(
                reverse_key(key),
                sequence=flow.remote_number(plain),
                acknowledgment=acknowledgment,
                flags=RST | ACK,
                window=0,
            )
            injections.append((Direction.IN, reset))
        return injections

    def forget(self) -> None:
        """The two directions and what repeats Init2 refer to this object, which has the keys."""
        self._init2 = None
        del self.outbound, self.inbound, self._outbound_packets, self._inbound_packets

    def rest(self) -> None:
        """See ProtocolState."""
        self._flow.outbound.rest()
        self._flow.inbound.rest()

    def rekey(self) -> None:
        """Begins a new generation of keys with a frame without data."""
        self._flow.outbound.rekey()
        self._send_empty(self._flow.outbound.empty_frame(), self._connection.last_seen)

    def translated(self, direction: Direction, error: Quoted) -> tuple[int, int | None] | None:
        """From one number space to the other; a frame makes one segment of several longer."""
        flow = self._flow
        if direction is Direction.OUT:
            return flow.remote_number(flow.wire_received(error.sequence)), error.mtu
        if error.is_unsealed:
            number = error.sequence
        else:
            if self._init2 is not None and self._init2.was_too_large(error.sequence, error.mtu):
                return None
            plain = flow.plain_outstanding(error.sequence)
            if plain is None:
                return None
            number = flow.local_number(plain)
        return number, None if error.mtu is None else self._outbound_packets.narrow(error.mtu, error.is_own)

    def undeliverable(self, now: float) -> bool:
        """Init2 or its acknowledgment was refused: nothing may pass in clear. Later, the kernel's packets do."""
        if self._init2 is None and self._heard:
            return False
        self._connection.reset()
        return True

    def cut_off(self) -> bool:
        """See ProtocolState: from now on it is left to the kernel to cut packets."""
        self._cutting.refuse()
        return True

    def _probe(self, now: float) -> bool:
        """The local kernel's keep-alive: only an authentic answer shows that the peer lives (RFC 8548 section 3.9)."""
        flow = self._flow
        if flow.outbound.finished or flow.inbound.finished:
            # A peer that has sent FIN sends no frame any more.
            return False
        if not self._inbound_packets.probing:
            self._inbound_packets.probing = True
            flow.outbound.rekey()
        self._send_empty(flow.outbound.empty_frame() or flow.outbound.unacknowledged_empty(), now)
        return True

    def _send_empty(self, piece: Piece | None, now: float) -> bool:
        if piece is None:
            return False
        self._connection.inject(Direction.OUT, self._flow.make(piece.wire, bytes(piece.payload), ACK | PSH))
        if self._init2 is None:
            self._empty_tries = 0
            self._connection.set_timer(now + EMPTY_FRAME_INTERVALS[0], self._timeout)
        return True

    def _timeout(self, now: float) -> None:
        """Sends frames without data again, and replaces the keys in time."""
        piece = self._flow.outbound.unacknowledged_empty()
        if piece is not None:
            self._empty_tries = min(self._empty_tries + 1, len(EMPTY_FRAME_INTERVALS) - 1)
            self._connection.inject(Direction.OUT, self._flow.make(piece.wire, bytes(piece.payload), ACK | PSH))
            self._connection.set_timer(now + EMPTY_FRAME_INTERVALS[self._empty_tries], self._timeout)
        else:
            self._connection.set_timer(now + REKEY_INTERVAL, self._rekey_in_time)

    def _rekey_in_time(self, now: float) -> None:
        self._connection.set_timer(now + REKEY_INTERVAL, self._rekey_in_time)
        self._flow.outbound.rekey()
        self._send_empty(self._flow.outbound.empty_frame(), now)

    def _authentic(self, now: float) -> bool:
        """A frame has come: the peer has the keys. One that begins a generation asks for one of ours (section 3.8)."""
        self._identified()
        self._heard = True
        self._remember(now)
        flow = self._flow
        if flow.outbound.generation >= flow.inbound.generation == flow.outbound.remote_generation:
            return False
        return self._send_empty(flow.outbound.follow(flow.inbound.generation), now)

    def _remember(self, now: float) -> None:
        """Keeps the session for another connection, once, when the packet at hand has gone on."""
        keep, self._keep = self._keep, None
        if keep is not None:
            self._connection.afterwards(lambda: keep(now))

    def _acknowledged(self, wire: int) -> None:
        if self._init2 is None:
            return
        if wire >= self._sent_length:
            self._init2 = None
            self._connection.encrypted(self._connection.last_seen)
            if self._flow.outbound.unacknowledged_empty() is None:
                self._connection.set_timer(self._connection.last_seen + REKEY_INTERVAL, self._rekey_in_time)
            else:
                self._connection.set_timer(self._connection.last_seen + EMPTY_FRAME_INTERVALS[0], self._timeout)
        elif wire:
            self._init2.acknowledged = max(self._init2.acknowledged, wire)
        else:
            self._init2.repeat()

    def _outbound_syn(self, segment: Segment, now: float) -> Verdict:
        if segment.is_opening:
            return self._connection.renew(segment, Direction.OUT, now)
        if self._syn is None or not segment.answers(self._syn):
            return DROP
        return self._connection.reopen(self._syn, segment, now)

    def _inbound_syn(self, segment: Segment, now: float) -> Verdict:
        """Whoever sent it, this connection lives until the kernel has opened a new one (RFC 5961, section 4)."""
        if segment.flags & ACK:
            # The peer did not get the kernel's ACK.
            self._flow.acknowledge()
            return DROP
        if segment.flags & RST or refusal(segment) is not None:
            return DROP
        self._syn = segment
        return modify(for_local_kernel(segment), ConnectionClass.STREAM)
