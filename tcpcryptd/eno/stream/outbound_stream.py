"""The outgoing direction: the local kernel's stream, sealed into frames once and retransmitted as often as needed.

A FIN that has been sent takes one number behind the last byte in either number space, as in TCP: `end + 1` stands for
what follows it, in positions and in acknowledgments.
"""

from collections import deque
from collections.abc import Iterable

from tcpcryptd.eno.constants import OVERHEAD
from tcpcryptd.eno.limits import FRAME_COST, Limits
from tcpcryptd.eno.stream.frame import (
    MAX_DATA,
    MAX_URGENT,
    URGENT_LENGTH,
    Buffer,
    FrameProtection,
    KeyChain,
    seal_frame,
)
from tcpcryptd.eno.stream.ledger import Ledger, Record


class Piece:
    """Bytes of the TCP data stream."""

    __slots__ = ("fin", "payload", "wire")

    def __init__(self, wire: int, payload: Buffer, fin: bool) -> None:
        self.wire = wire
        """The offset of the first one."""
        self.payload = payload
        """May be more than a packet takes; never changes."""
        self.fin = fin
        """Whether FIN follows the last byte."""


class OutboundStream:
    """Seals new bytes and finds sealed ones. `limits` bounds what is kept for retransmission."""

    __slots__ = (
        "_acknowledged_frames",
        "_keys",
        "_ledger",
        "_limits",
        "_protection",
        "_rekeying",
        "acknowledged",
        "finished",
        "generation",
        "generation_start",
        "remote_generation",
    )

    def __init__(self, keys: KeyChain, wire_start: int, limits: Limits) -> None:
        """`wire_start`: the wire offset of the first frame, that is the length of Init1 or Init2."""
        self._keys = keys
        self._protection: FrameProtection = keys(0)
        self._ledger = Ledger(0, wire_start)
        self._limits = limits
        self._rekeying = False
        self._acknowledged_frames: deque[Record] = deque(maxlen=limits.acknowledged_frames)
        """Of the latest frames, without their bytes."""
        self.finished = False
        """Whether the frame with FINp has been sealed."""
        self.acknowledged = wire_start
        """Wire: the highest acknowledgment, FIN left out."""
        self.generation = 0
        """Of the last frame; the local generation number of RFC 8548, section 3.8."""
        self.generation_start = wire_start
        """Wire: the first frame of the current generation."""
        self.remote_generation = 0
        """The peer's, as `follow` was told."""

    def rest(self) -> None:
        """Drops what the next frame makes again from the keys."""
        self._protection.rest()

    @property
    def end(self) -> int:
        """Plain: behind the last byte that was sealed."""
        return self._ledger.end

    @property
    def wire_end(self) -> int:
        """Wire: behind the last frame."""
        return self._ledger.wire_end

    def send(
        self, start: int, payload: Buffer, fin: bool = False, urgent: int | None = None, segment: int = 0
    ) -> Piece | None:
        """The wire bytes of a segment of the local kernel's, whose first byte is at plain offset `start`.

        `urgent` is the plain offset of the last urgent byte. `segment`: bytes of the payload in each segment, the first
        of which has what the frame is longer (see `cuts`); 0: the last one. What has been sealed before is given byte
        for byte, whatever the payload is; nothing is given for what has been acknowledged. A segment without payload
        and FIN has a position alone.

        None: it begins behind a hole, goes on behind the FIN, or new bytes have no room before something is
        acknowledged. The segment is to be dropped; the kernel will send it again.
        """
        ledger = self._ledger
        end = start + len(payload)
        if start > ledger.end or (self.finished and (end > ledger.end or (fin and end < ledger.end))):
            return self._position(start) if not payload and not fin else None
        if start < ledger.end or not (payload or fin) or self.finished:
            return self._send_again(start, end, payload, fin, urgent)
        if not self._has_room(len(payload)):
            return None
        wire = ledger.wire_end
        return Piece(wire, self._seal(payload, fin, urgent, segment), fin)

    def cuts(self, start: int, end: int, segment: int) -> list[int]:
        """Where the wire bytes of plain offsets that were sent are cut, so that segments of plaintext fill segments."""
        return [self._ledger.finish(at) for at in range(start + segment, end, segment)]

    def _send_again(self, start: int, end: int, payload: Buffer, fin: bool, urgent: int | None) -> Piece | None:
        ledger = self._ledger
        if start == end and not fin:
            return self._position(start)
        sent_until = ledger.end
        fin_is_new = fin and not self.finished and end >= sent_until
        new = memoryview(payload)[sent_until - start :] if end > sent_until else memoryview(b"")
        if (new or fin_is_new) and self._has_room(len(new)):
            self._seal(new, fin_is_new, urgent)
        else:
            end, fin = min(end, sent_until), fin and self.finished
        if end <= ledger.start and not fin:
            return self._position(start)
        wire = max(ledger.begin(max(start, ledger.start)), self.acknowledged)
        wire_end = ledger.wire_end if fin else ledger.finish(end)
        if wire >= wire_end:
            return Piece(wire_end, b"", fin)
        return Piece(wire, ledger.sealed(wire, wire_end), fin)

    def _has_room(self, length: int) -> bool:
        frames = length // MAX_DATA + 1
        return (
            self._ledger.cost + length + frames * (FRAME_COST + OVERHEAD + URGENT_LENGTH) <= self._limits.unacknowledged
        )

    def _seal(self, payload: Buffer, fin: bool, urgent: int | None, first: int = 0) -> Buffer:
        """Seals what comes next in the stream, in as many frames as it takes; no payload makes an empty frame."""
        if len(payload) <= MAX_DATA:
            return self._seal_one(payload, fin, urgent, first)
        view = memoryview(payload)
        cuts = range(0, len(view), MAX_DATA)
        return b"".join([self._seal_one(view[at : at + MAX_DATA], fin and at == cuts[-1], urgent) for at in cuts])

    def _seal_one(self, data: Buffer, fin: bool, urgent: int | None, first: int = 0) -> bytes | bytearray:
        ledger = self._ledger
        wire = ledger.wire_end
        rekey = self._rekeying
        if rekey:
            self._protection = self._keys(self.generation + 1)
            self.generation += 1
            self.generation_start = wire
            self._rekeying = False
        if urgent is not None:
            urgent -= ledger.end
            if not 0 <= urgent <= MAX_URGENT:
                urgent = None
        frame = seal_frame(self._protection, wire, data, rekey=rekey, fin=fin, urgent=urgent)
        ledger.append(len(data), len(frame), frame, first if urgent is None else 0)
        self.finished = fin
        return frame

    def _position(self, start: int) -> Piece:
        return Piece(self.wire_position(start), b"", False)

    def wire_position(self, start: int) -> int:
        """Where a segment without payload stands that has the plain offset `start`.

        The offset before the oldest one that is kept (a keep-alive) gives the wire offset before; so does an older one.
        """
        ledger = self._ledger
        if start < ledger.start:
            return ledger.wire - 1
        return ledger.to_wire(start) + (self.finished and start > ledger.end)

    def acknowledge(self, wire: int) -> None:
        """Drops the frames that the peer has acknowledged; ignores acknowledgments of what it cannot have received."""
        if self.acknowledged < wire <= self.wire_end + self.finished:
            self.acknowledged = min(wire, self.wire_end)
            for record in self._ledger.drop_wire(wire):
                places = record.start, record.end, record.wire, record.frame, record.wire_end, record.turn
                self._acknowledged_frames.append(Record(*places, b"", 0))

    def plain_acknowledgment(self, wire: int) -> int:
        """The plain offset that an acknowledgment of the peer's stands for.

        It is one before the oldest byte that is kept when the acknowledgment is older than the frames that are kept, so
        that the kernel does not take it for a repeated one.
        """
        ledger = self._ledger
        if wire < ledger.wire:
            return max(ledger.start - 1, 0)
        return ledger.to_plain(wire) + (self.finished and wire > ledger.wire_end)

    def plain_sack(self, blocks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Selective acknowledgments in plain offsets, in the same order.

        A byte counts only when everything that travels with it has arrived, too; blocks that have none are left out.
        One that is acknowledged as well has come twice (RFC 2883).
        """
        ledger = self._ledger
        found = []
        for left, right in blocks:
            if left < right:
                if right <= self.acknowledged:
                    start, end = self._plain_duplicate(left, right)
                else:
                    start, end = ledger.held_from(left), ledger.to_plain(right)
                if start < end:
                    found.append((start, end))
        return found

    def _plain_duplicate(self, left: int, right: int) -> tuple[int, int]:
        """The plain offsets of acknowledged wire bytes; an empty range when they are forgotten."""
        start = end = 0
        for record in reversed(self._acknowledged_frames):
            if record.wire_end <= left:
                break
            if record.frame < right:
                start = min(record.plain_from(left), record.end)
                end = max(end, min(record.plain_of(right - 1) + 1, record.end))
        return start, end

    def rekey(self) -> None:
        """The next frame, if there is one, begins a new generation of keys. No effect when that is so already."""
        self._rekeying = True

    def empty_frame(self) -> Piece | None:
        """A frame without data, to be sent now; it carries out what `rekey` began.

        None: after the FIN, at a bound, and when it would initiate rekeying while an earlier one is unanswered
        (RFC 8548, section 3.8).
        """
        if self._rekeying and self.generation > self.remote_generation:
            return None
        return self._empty_frame()

    def _empty_frame(self) -> Piece | None:
        last = self._ledger.trailing
        if self.finished or (last is not None and last.empty_frames >= self._limits.empty_frames):
            return None
        if not self._has_room(0):
            return None
        return Piece(self.wire_end, self._seal_one(b"", False, None), False)

    def follow(self, remote_generation: int) -> Piece | None:
        """Takes note of the peer's generation and answers it: the frames without data to be sent at once, if any.

        Each generation that the peer is ahead takes a frame of ours. At a bound the rest is left for the next call.
        """
        self.remote_generation = remote_generation
        pieces = []
        while self.generation < remote_generation:
            self.rekey()
            piece = self._empty_frame()
            if piece is None:
                break
            pieces.append(piece)
        if len(pieces) < 2:
            return pieces[0] if pieces else None
        return Piece(pieces[0].wire, b"".join([piece.payload for piece in pieces]), False)

    def unacknowledged_empty(self) -> Piece | None:
        """The frames without data at the end that no kernel sends again, since no data and no FIN follows them."""
        last = self._ledger.trailing
        if last is None or self.finished:
            return None
        wire = max(last.wire, self.acknowledged)
        return Piece(wire, self._ledger.sealed(wire, last.wire_end), False)
