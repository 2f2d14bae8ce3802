"""A small TCP endpoint that plays the kernel of a host: RFC 9293, with RFC 5961 and RFC 7323.

A position counts the stream from the SYN at 0, so the first byte is at 1; positions do not wrap, sequence numbers do.
"""

import enum
import struct
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, Segment, make, timestamps
from tcpcryptd.wire.sequence import add, difference

if TYPE_CHECKING:
    from tests.machine.stack import Stack

MSS = 1460
WINDOW = 64_000
IN_FLIGHT = 12 * MSS
SYN_TIMEOUT, MIN_TIMEOUT, MAX_TIMEOUT, TRIES = 1.0, 0.2, 10.0, 16
TIME_WAIT = 20.0


class State(enum.Enum):
    SYN_SENT = enum.auto()
    SYN_RECEIVED = enum.auto()
    OPEN = enum.auto()
    TIME_WAIT = enum.auto()
    CLOSED = enum.auto()


@dataclass(frozen=True)
class Behaviour:
    """What kernels do differently."""

    timestamps: bool = True
    sack: bool = True
    ecn: bool = False
    accurate_ecn: bool = False
    """AccECN (RFC 9768): its SYN has AE as well, and accepting it is answered with CWR alone."""
    mss: int = MSS
    probe_with_data: bool = False
    """Zero-window probes carry the next byte; otherwise the byte before the window, without data, as Linux does."""
    extra_options: bytes = b""
    """More options in the SYNs."""
    syn_data: bytes = b""
    """What the application has written when it connects by Fast Open, with a cookie among `extra_options`: the SYN has
    it, and what stands in the place of the ACK when the SYN ACK does not acknowledge it, whatever the window."""
    segments_in_packet: int = 1
    """How many segments of new data it leaves to be cut on the way out, together in one packet."""
    window: int = WINDOW
    """Bytes that it takes and the application has not read."""
    in_flight: int = IN_FLIGHT
    whole_or_nothing: bool = False
    """It drops a packet that reaches beyond its window while the application has something to read (Linux 6.17)."""


class Scoreboard:
    """What a sender knows of holes (RFC 6675), in positions."""

    def __init__(self) -> None:
        self._blocks: list[tuple[int, int]] = []
        self._repaired = 0
        """Up to where holes were filled once: what is lost again takes a timeout."""

    def add(self, start: int, end: int) -> None:
        inside = [each for each in self._blocks if each[0] <= end and start <= each[1]]
        for each in inside:
            start, end = min(start, each[0]), max(end, each[1])
        self._blocks = sorted([each for each in self._blocks if each not in inside] + [(start, end)])

    def forget(self) -> None:
        """After a timeout: the peer may have dropped what it had announced (RFC 2018, section 8)."""
        self._blocks, self._repaired = [], 0

    def lost(self, acknowledged: int, mss: int) -> list[tuple[int, int]]:
        """Holes with three segments or more behind them, which have not been filled yet."""
        self._blocks = [each for each in self._blocks if each[1] > acknowledged]
        holes, before = [], acknowledged
        for index, (start, end) in enumerate(self._blocks):
            behind = sum(each[1] - each[0] for each in self._blocks[index:])
            if start > max(before, self._repaired) and behind >= 3 * mss - 60:
                holes.append((max(before, self._repaired), start))
                self._repaired = start
            before = end
        return holes


class Socket:
    """One connection."""

    def __init__(self, stack: "Stack", key: bytes, behaviour: Behaviour, isn: int, random: Random) -> None:
        self.stack, self.key, self.behaviour, self.isn = stack, key, behaviour, isn
        self.state = State.CLOSED
        self.received = bytearray()
        self.unread = 0
        """Bytes of `received` that fill the window."""
        self.reading = True
        self.peer_finished = False
        self.error: str | None = None
        self.sack = False
        self.ecn_mode = ""
        self.counters_seen: set[int] = set()
        """The ACE fields of what has come in with AccECN."""
        self._to_send = bytearray()
        self._finish = False
        self._acknowledged = self._next = self._highest = 0
        self._window, self._window_at = 0, (0, 0)
        self._mss = 536
        self.errors_out_of_window = 0
        self._timestamps = behaviour.timestamps
        self._recent = 0
        self._remote_isn = 0
        self._expected = 0
        self._ahead: dict[int, tuple[bytes, bool]] = {}
        """What has come behind a hole, by its position, in the order in which it came."""
        self._board = Scoreboard()
        self.blocks_seen: list[tuple[int, int]] = []
        """Positions in selective acknowledgments of the peer's."""
        self.timeouts = 0
        self._repeated_acks = 0
        self._tries = 0
        self._timer = 0
        self._clock_offset = random.randrange(1 << 32)

    # What the application does.

    def connect(self) -> None:
        self.state = State.SYN_SENT
        self._to_send += self.behaviour.syn_data
        offer = ECE | CWR if self.behaviour.ecn or self.behaviour.accurate_ecn else 0
        self._send_syn(SYN | offer, self.behaviour.syn_data)

    def write(self, data: bytes) -> None:
        self._to_send += data
        self._push()

    def shut_down(self) -> None:
        """No more data from this side."""
        self._finish = True
        self._push()

    def abort(self) -> None:
        if self.state is State.OPEN:
            self._send(RST | ACK, self._highest)
        self._end("aborted")

    def keep_alive(self) -> None:
        """RFC 9293, section 3.8.4: asks the peer for a sign of life."""
        self._send(ACK, self._acknowledged - 1)

    def resume_reading(self) -> None:
        self.reading = True
        self.drain()

    def drain(self) -> None:
        """The application reads what there is."""
        self.unread = 0
        self._send(ACK, self._highest)

    @property
    def all_acknowledged(self) -> bool:
        return self._acknowledged == self._stream_end

    @property
    def finished(self) -> bool:
        """Both sides have closed and this one has nothing more to do but wait."""
        return self.state in (State.TIME_WAIT, State.CLOSED)

    # What comes from the network.

    def accept(self, syn: Segment) -> None:
        """The connection begins with a peer's SYN."""
        self.state = State.SYN_RECEIVED
        self._take_syn(syn)
        answer = 0
        if self.behaviour.accurate_ecn and (syn.reserved & AE, syn.flags & (CWR | ECE)) == (AE, CWR | ECE):
            self.ecn_mode, answer = "accurate", CWR
        elif syn.flags & ECE and (self.behaviour.ecn or self.behaviour.accurate_ecn):
            self.ecn_mode, answer = "classic", ECE
        self._send_syn(SYN | ACK | answer)

    def receive(self, segment: Segment) -> None:
        if self.state is State.SYN_SENT:
            self._receive_in_syn_sent(segment)
        elif self.state is not State.CLOSED:
            self._receive_synchronized(segment)

    def _receive_in_syn_sent(self, segment: Segment) -> None:
        acknowledged = difference(segment.acknowledgment, self.isn)
        acceptable = 1 <= acknowledged <= self._highest
        if segment.flags & ACK and not acceptable:
            if not segment.flags & RST:
                self.stack.refuse(segment)
        elif segment.flags & RST:
            if segment.flags & ACK:
                self._end("refused")
        elif segment.flags & SYN:
            self._take_syn(segment)
            self.ecn_mode = self._answered_ecn(segment)
            if segment.flags & ACK:
                self._acknowledged, self._next, self.state = acknowledged, acknowledged, State.OPEN
                self._window = segment.window
                if acknowledged < self._highest:
                    self._next += self._send_data(acknowledged)
                else:
                    self._send(ACK, self._highest)
                self._restart_timer(progress=True)
                self._push()
            else:
                self.state = State.SYN_RECEIVED
                self._send_syn(SYN | ACK)

    def _answered_ecn(self, syn_ack: Segment) -> str:
        """RFC 9768 section 3.1.2, Table 2."""
        code = (syn_ack.reserved & AE, syn_ack.flags & CWR, syn_ack.flags & ECE)
        if code in ((0, 0, ECE), (AE, 0, ECE)):
            return "classic"
        return "accurate" if self.behaviour.accurate_ecn and code not in ((0, 0, 0), (AE, CWR, ECE)) else ""

    def _receive_synchronized(self, segment: Segment) -> None:
        position = self._expected + difference(segment.sequence, add(self._remote_isn, self._expected))
        if self.ecn_mode == "accurate" and segment.payload_length:
            self.counters_seen.add((segment.reserved & AE) << 2 | segment.flags >> 6)
        if not segment.flags & RST and not self._timestamp_fits(segment):
            return
        if self.state is State.SYN_RECEIVED and segment.is_opening and position == 0:
            self._send_syn(SYN | ACK)
            return
        if not self._acceptable(position, segment.payload_length + bool(segment.flags & FIN)):
            if not segment.flags & RST:
                self._send(ACK, self._highest)
            return
        stamp = timestamps(segment.options)
        if stamp is not None and position <= self._expected:
            self._recent = stamp[0]
        if segment.flags & RST and position == self._expected:
            self._end("reset")
        elif segment.flags & (RST | SYN):
            self._send(ACK, self._highest)
        elif segment.flags & ACK and self._take_acknowledgment(segment):
            self._take_data(position, segment)
            self._push()
            self._maybe_close()

    def _timestamp_fits(self, segment: Segment) -> bool:
        """RFC 7323, sections 3.2 and 5.3; an old timestamp is answered."""
        if not self._timestamps:
            return True
        stamp = timestamps(segment.options)
        if stamp is not None and difference(stamp[0], self._recent) < 0:
            self._send(ACK, self._highest)
            return False
        return stamp is not None

    def _acceptable(self, position: int, length: int) -> bool:
        end = self._expected + self._own_window
        if not length:
            return self._expected <= position < end or position == self._expected
        if self.behaviour.whole_or_nothing and self.unread and position + length > end:
            return False
        return position < max(end, self._expected + 1) and position + length > self._expected

    def _take_acknowledgment(self, segment: Segment) -> bool:
        position = self._acknowledged + difference(segment.acknowledgment, add(self.isn, self._acknowledged))
        if self.state is State.SYN_RECEIVED:
            if not 1 <= position <= self._highest:
                self.stack.refuse(segment)
                return False
            self.state = State.OPEN
            self.stack.accepted.append(self)
        if position > self._highest:
            self._send(ACK, self._highest)
            return False
        if position > self._acknowledged:
            self._acknowledged, self._next = position, max(self._next, position)
            self._repeated_acks = 0
            self._restart_timer(progress=True)
        elif position == self._acknowledged and not segment.payload_length and segment.window == self._window:
            self._repeated_acks += 1
            if self._repeated_acks == 3 and self._highest > self._acknowledged and not self.sack:
                self._send_data(self._acknowledged)
        if position == self._acknowledged:
            at = (difference(segment.sequence, self._remote_isn), position)
            if at >= self._window_at or segment.window > self._window:
                self._window, self._window_at = segment.window, at
        if self.sack:
            self._take_blocks(segment)
            self._fill_holes()
        return True

    def _fill_holes(self) -> None:
        for start, end in self._board.lost(self._acknowledged, self._mss):
            position = start
            while position < end:
                position += self._send_data(position, end=end)

    def _take_blocks(self, segment: Segment) -> None:
        value = segment.option(options.SACK) or b""
        base = add(self.isn, self._acknowledged)
        for left, right in struct.iter_unpack(">II", value):
            start, end = (self._acknowledged + difference(number, base) for number in (left, right))
            self.blocks_seen.append((start, end))
            self._board.add(start, end)

    def _sack_option(self) -> bytes:
        """As many blocks as fit, the one that came last first (RFC 2018, section 4)."""
        if not self.sack or not self._ahead:
            return b""
        blocks: list[tuple[int, int]] = []
        for position in reversed(self._ahead):
            start, end = position, position + len(self._ahead[position][0]) + self._ahead[position][1]
            touching = [each for each in blocks if each[0] <= end and start <= each[1]]
            for each in touching:
                start, end = min(start, each[0]), max(end, each[1])
            place = blocks.index(touching[0]) if touching else len(blocks)
            blocks = [each for each in blocks if each not in touching]
            blocks.insert(min(place, len(blocks)), (start, end))
        fitting = blocks[: 3 if self._timestamps else 4]
        numbers = [add(self._remote_isn, number).to_bytes(4, "big") for block in fitting for number in block]
        return b"\x01\x01" + options.encode(options.SACK, b"".join(numbers))

    def _take_data(self, position: int, segment: Segment) -> None:
        if not segment.payload_length and not segment.flags & FIN:
            return
        self._ahead.pop(position, None)
        self._ahead[position] = (segment.payload, bool(segment.flags & FIN))
        for start in sorted(self._ahead):
            if start > self._expected:
                break
            payload, fin = self._ahead.pop(start)
            fresh = payload[self._expected - start :]
            if self.peer_finished:
                continue
            if not self.reading:
                room = len(fresh) if self.behaviour.whole_or_nothing else self._own_window
                fits = fresh[:room]
                fin, fresh = fin and fits == fresh, fits
                self.unread += len(fresh)
            self.received += fresh
            self._expected += len(fresh)
            if fin and start + len(payload) == self._expected:
                self.peer_finished = True
                self._expected += 1
        self._send(ACK, self._highest)

    def _take_syn(self, syn: Segment) -> None:
        self._remote_isn, self._expected = syn.sequence, 1
        self._window_at, self._window = (0, 0), syn.window
        mss = syn.option(options.MSS)
        self._mss = min(struct.unpack(">H", mss)[0] if mss is not None and len(mss) == 2 else 536, self.behaviour.mss)
        self.sack = self.behaviour.sack and syn.option(options.SACK_PERMITTED) is not None
        stamp = timestamps(syn.options)
        self._timestamps = self._timestamps and stamp is not None
        self._recent = stamp[0] if stamp else 0

    # What goes to the network.

    @property
    def _stream_end(self) -> int:
        return 1 + len(self._to_send) + self._finish

    @property
    def _own_window(self) -> int:
        return max(self.behaviour.window - self.unread, 0)

    def _push(self) -> None:
        """Sends what the peer's window and the number of bytes in flight allow."""
        if self.state is not State.OPEN:
            return
        limit = self._acknowledged + min(self._window, self.behaviour.in_flight)
        while self._next < self._stream_end:
            only_fin = self._finish and self._next == self._stream_end - 1
            if (self._next >= limit and not only_fin) or self._defers(limit):
                break
            self._next += self._send_data(self._next, limit - self._next)
        if self._next < self._stream_end or self._acknowledged < self._highest:
            self._start_timer()

    def _defers(self, limit: int) -> bool:
        """Whether to wait for more room, so that a packet has as many segments as it may."""
        wanted = min(self._mss * self.behaviour.segments_in_packet, self._stream_end - self._next)
        return self.behaviour.segments_in_packet > 1 and self._acknowledged < self._next and limit - self._next < wanted

    def _send_data(self, position: int, room: int | None = None, end: int | None = None) -> int:
        """Sends one packet from a position of the stream on; returns how much sequence space it takes.

        Of one segment, when `room` does not say how much may be new; not beyond `end`.
        """
        segment_size = max(self._mss - (12 if self._timestamps else 0) - len(self._sack_option()), 0)
        size = segment_size if end is None else min(segment_size, end - position)
        if room is not None:
            size = max(min(segment_size * self.behaviour.segments_in_packet, room), 0)
        payload = bytes(self._to_send[position - 1 : position - 1 + size])
        fin = self._finish and position + len(payload) == self._stream_end - 1
        self._send(ACK | (PSH if payload else 0) | (FIN if fin else 0), position, payload, segment_size=segment_size)
        return len(payload) + fin

    def _send_syn(self, flags: int, data: bytes = b"") -> None:
        area = b"\x02\x04" + struct.pack(">H", self.behaviour.mss)
        area += b"\x04\x02" if self.behaviour.sack and (not flags & ACK or self.sack) else b"\x01\x01"
        if self._timestamps:
            area += self._stamp()
        self._highest, self._next = max(self._highest, 1 + len(data)), 1
        self._send(flags, 0, data, area=options.pad(area + self.behaviour.extra_options))
        self._start_timer()

    def _stamp(self) -> bytes:
        now = int(self.stack.clock.now * 1000) + self._clock_offset & 0xFFFFFFFF
        return options.encode(options.TIMESTAMP, struct.pack(">II", now, self._recent))

    def _send(
        self, flags: int, position: int, payload: bytes = b"", area: bytes | None = None, segment_size: int = MSS
    ) -> None:
        if area is None:
            area = b"\x01\x01" + self._stamp() if self._timestamps else b""
            area += self._sack_option()
        self._highest = max(self._highest, position + len(payload) + bool(flags & FIN))
        packet = make(
            self.key,
            sequence=add(self.isn, position),
            acknowledgment=add(self._remote_isn, self._expected) if flags & ACK else 0,
            flags=flags,
            window=self._own_window,
            option_area=area,
            payload=payload,
        )
        packet = self._with_ecn(packet, flags)
        if len(payload) > segment_size:
            self.stack.emit_whole(packet, segment_size)
        else:
            self.stack.emit(packet)

    def too_big(self, sequence: int, mtu: int) -> None:
        """Only about what is outstanding (RFC 5927, section 7); what was lost is sent again in smaller segments."""
        if not self._acknowledged <= difference(sequence, self.isn) <= self._highest:
            self.errors_out_of_window += 1
        elif self.believe(mtu):
            self._next = self._acknowledged
            self._next += self._send_data(self._next)

    @property
    def path_mtu(self) -> int:
        return self._mss + (40 if len(self.key) == 12 else 60)

    def believe(self, mtu: int) -> bool:
        """Segments are for packets of so many bytes; whether they were larger."""
        before = self.path_mtu
        self._mss -= max(before - mtu, 0)
        return mtu < before

    def _with_ecn(self, packet: bytes, flags: int) -> bytes:
        """The SYN's offer, and a count of no mark in later segments (RFC 9768 section 3.2.2: it begins at 5)."""
        offers = self.behaviour.accurate_ecn and flags & (SYN | ACK) == SYN
        counts = self.ecn_mode == "accurate" and not flags & (SYN | RST)
        if not offers and not counts:
            return packet
        offset = 20 if packet[0] >> 4 == 4 else 40
        return Segment(packet, offset).edited(reserved=AE, flags=flags | (ECE if counts else 0))

    # Time.

    def _start_timer(self) -> None:
        if not self._timer:
            base = SYN_TIMEOUT if not self._acknowledged else MIN_TIMEOUT
            self._timer = self.stack.schedule(min(base * 2**self._tries, MAX_TIMEOUT), self._timeout)

    def _restart_timer(self, *, progress: bool) -> None:
        self._timer = 0
        if progress:
            self._tries = 0
        if self._acknowledged < self._highest:
            self._start_timer()

    def _timeout(self, timer: int) -> None:
        if timer != self._timer or self.state is State.CLOSED:
            return
        self._timer = 0
        self._tries += 1
        self.timeouts += 1
        self._board.forget()
        if self._tries > TRIES:
            self._end("timed out")
        elif self.state in (State.SYN_SENT, State.SYN_RECEIVED):
            self._send_syn(SYN if self.state is State.SYN_SENT else SYN | ACK)
        elif self._acknowledged < self._highest and (
            self._window or self.behaviour.syn_data or self._acknowledged + 1 < self._highest
        ):
            # Also when the peer has shrunk its window below what is in flight (RFC 9293, section 3.8.6.1).
            self._next = self._acknowledged
            self._next += self._send_data(self._next)
            self._start_timer()
        elif self._acknowledged < self._stream_end:
            self._probe()
            self._start_timer()

    def _probe(self) -> None:
        """Zero window: something that the peer must answer."""
        if self._finish and self._acknowledged == self._stream_end - 1:
            self._send_data(self._acknowledged)
        elif self.behaviour.probe_with_data:
            self._next = self._acknowledged + self._send_data(self._acknowledged, 1)
        else:
            self._send(ACK, self._acknowledged - 1)

    def _maybe_close(self) -> None:
        if self.peer_finished and self._finish and self.all_acknowledged and self.state is State.OPEN:
            self.state = State.TIME_WAIT
            self.stack.schedule(TIME_WAIT, lambda _: self._end(None))

    def _end(self, error: str | None) -> None:
        if self.state is not State.CLOSED:
            self.state, self.error = State.CLOSED, self.error or error
            self.stack.forget(self)
