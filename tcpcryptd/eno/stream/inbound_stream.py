"""The incoming direction: frames from the wire, of which the local kernel gets the plaintext, verified and in order.

A FIN that has been delivered takes one number behind the last byte in either number space, as in TCP: `end + 1` stands
for what follows it, in positions and in acknowledgments.
"""

from tcpcryptd.eno.limits import Limits
from tcpcryptd.eno.stream.delivery import Delivery, cut
from tcpcryptd.eno.stream.frame import (
    HEADER,
    HEADER_LENGTH,
    MIN_CIPHERTEXT,
    REKEY,
    Buffer,
    FrameProtection,
    KeyChain,
    MalformedFrame,
    OpenedFrame,
    open_frame,
)
from tcpcryptd.eno.stream.ledger import Ledger
from tcpcryptd.eno.stream.outcome import Outcome, Received
from tcpcryptd.eno.stream.reassembly import Kept, Reassembly

__all__ = ["Delivery", "InboundStream", "Outcome", "Received"]


class _Opened:
    """Frames that were opened one after the other."""

    __slots__ = ("frames", "length", "trouble")

    def __init__(self, frames: list[OpenedFrame], length: int, trouble: Outcome | None) -> None:
        self.frames = frames
        self.length = length
        """Wire bytes."""
        self.trouble = trouble
        """Why it did not go on, if not for want of bytes."""


class InboundStream:
    """Puts segments together, opens frames and keeps their plaintext until the local kernel has acknowledged it."""

    __slots__ = (
        "_cut_short",
        "_end_with_fin",
        "_fin_came",
        "_held",
        "_keys",
        "_ledger",
        "_limits",
        "_needed",
        "_next_protection",
        "_protection",
        "_urgent",
        "_wire_fin",
        "committed",
        "conflicts",
        "duplicate",
        "failures",
        "finished",
        "generation",
    )

    def __init__(self, keys: KeyChain, wire_start: int, limits: Limits) -> None:
        """`wire_start`: the wire offset of the first frame, that is the length of the peer's Init1 or Init2."""
        self._keys = keys
        self._protection: FrameProtection = keys(0)
        self._next_protection: FrameProtection | None = None
        self._ledger = Ledger(0, wire_start)
        self._held = Reassembly(wire_start, limits)
        self._needed = HEADER_LENGTH
        """Bytes from `next_wire` on without which no frame can be opened."""
        self._limits = limits
        self._end_with_fin = False
        """Whether a frame with FINp was opened; then the stream ends behind it."""
        self._fin_came = False
        """Whether the TCP header has said the same: only then is the FIN acknowledged to the peer."""
        self._wire_fin: int | None = None
        """Where the TCP header says that the stream ends; nothing authenticates that."""
        self._cut_short = False
        self.committed = wire_start
        """Wire: behind what is acknowledged whatever the local kernel says."""
        self._urgent = -1
        """Plain: the last urgent byte that a frame has told of."""
        self.finished = False
        """Whether the end of the stream was delivered."""
        self.generation = 0
        """Of the last frame; the remote generation number of RFC 8548, section 3.8. For `OutboundStream.follow`."""
        self.failures = 0
        """Frames that were not authentic."""
        self.duplicate: tuple[int, int] | None = None
        """Wire: start and end of the latest segment that had come before, until the peer is told (RFC 2883)."""
        self.conflicts = 0
        """Segments that had other bytes than what was held at the same offset."""

    def rest(self) -> None:
        """Drops what the next frame makes again from the keys."""
        self._protection.rest()

    @property
    def end(self) -> int:
        """Plain: behind the last byte that was delivered."""
        return self._ledger.end

    @property
    def next_wire(self) -> int:
        """Wire: behind the last frame that was opened."""
        return self._held.next

    @property
    def has_gap(self) -> bool:
        """Whether bytes are held behind a hole."""
        return self._held.has_gap

    @property
    def has_part(self) -> bool:
        """Whether anything is held: a part of a frame, or what is behind a hole."""
        return bool(self._held)

    @property
    def frame_end(self) -> int:
        """Wire: behind the frame that is begun, as far as is known."""
        return self._held.next + self._needed

    @property
    def reach(self) -> int:
        """Wire: behind what has come without a hole."""
        return self._held.next + self._held.contiguous

    def receive(self, wire: int, payload: Buffer, fin: bool = False) -> Received:
        """Takes a segment with payload or FIN; `payload` must not change afterwards."""
        held = self._held
        if fin:
            self._wire_fin = wire + len(payload)
        if held and payload:
            contiguous = held.extend(wire, payload)
            if contiguous:
                if contiguous < self._needed and self._wire_fin is None:
                    return Outcome.HELD, []
                return self._open_held([])
        if held or wire != held.next or not payload:
            return self._receive_slowly(wire, payload)
        if self._ledger.cost >= self._limits.unacknowledged:
            return Outcome.REFUSED, []
        opened = self._open(payload)
        if opened.trouble is None and opened.length < len(payload):
            rest = memoryview(payload)[opened.length :] if opened.length else payload
            held.add(held.next, rest)
            self._needed = _needed(rest)
        return self._received(opened, [], Outcome.HELD)

    def _receive_slowly(self, wire: int, payload: Buffer) -> Received:
        held = self._held
        end = wire + len(payload)
        again = self._again(wire, min(end, held.next)) if payload and wire < held.next else []
        if end <= held.next:
            if payload:
                self.duplicate = wire, end
            return self._received(_Opened([], 0, None), again, Outcome.REPEATED if again else Outcome.OUTDATED)
        if not payload:
            return self._received(_Opened([], 0, None), [], Outcome.OUT_OF_ORDER)
        if self._ledger.cost >= self._limits.unacknowledged:
            return Outcome.REFUSED, again
        had_gap = held.has_gap
        kept = held.add(wire, payload)
        if kept is Kept.REFUSED:
            return Outcome.REFUSED, again
        if kept is Kept.CONFLICT:
            self.conflicts += 1
            self._needed = HEADER_LENGTH
        if kept is Kept.KNOWN:
            self.duplicate = wire, end
        at_once = had_gap or held.has_gap or kept is Kept.KNOWN
        return self._open_held(again, Outcome.OUT_OF_ORDER if at_once else Outcome.HELD)

    def _open_held(self, again: list[Delivery], otherwise: Outcome = Outcome.HELD) -> Received:
        held = self._held
        opened = _Opened([], 0, None)
        if held.contiguous >= self._needed:
            head = held.head()
            opened = self._open(head)
            if opened.trouble is None:
                self._needed = _needed(held.head())
        return self._received(opened, again, otherwise)

    def _open(self, buffer: Buffer) -> _Opened:
        """Opens the whole frames at the beginning of the contiguous bytes and consumes them."""
        view = memoryview(buffer)
        length = len(view)
        frames: list[OpenedFrame] = []
        trouble = None
        at = 0
        while length - at >= HEADER_LENGTH:
            control, ciphertext_length = HEADER.unpack_from(view, at)
            end = at + HEADER_LENGTH + ciphertext_length
            if ciphertext_length < MIN_CIPHERTEXT:
                trouble = Outcome.FAILED
                break
            if end > length:
                break
            trouble = self._open_one(control & REKEY, view[at:end], self._held.next + at, frames)
            if trouble is not None:
                break
            at = end
        if at:
            self._held.consume(at)
            self._cut_short = False
        if trouble is not None:
            if trouble is Outcome.FAILED:
                self.failures += 1
                trouble = Outcome.DAMAGED if self._held.pinned > self._held.next else trouble
            self._discard()
        return _Opened(frames, at, trouble)

    def _open_one(self, rekey: int, frame: memoryview, wire: int, frames: list[OpenedFrame]) -> Outcome | None:
        """Opens a frame and adds it; what is wrong with it."""
        protection = self._protection
        if rekey:
            # Nothing changes before the frame is found authentic.
            if self._next_protection is None:
                self._next_protection = self._keys(self.generation + 1)
            protection = self._next_protection
        try:
            opened = open_frame(protection, wire, frame)
        except MalformedFrame:
            return Outcome.INVALID
        if opened is None:
            return Outcome.FAILED
        if self._end_with_fin:
            return Outcome.INVALID
        if rekey:
            self._protection, self._next_protection = protection, None
            self.generation += 1
        self._end_with_fin = opened.fin
        data = opened.data
        length = len(data)
        if opened.urgent is not None:
            self._urgent = self._ledger.end + opened.urgent
        self._ledger.append(length, len(frame), data if length else b"")
        frames.append(opened)
        return None

    def _discard(self) -> None:
        self._held.discard()
        self._needed = HEADER_LENGTH
        self._wire_fin = None

    def _received(self, opened: _Opened, again: list[Delivery], otherwise: Outcome) -> Received:
        frames = opened.frames
        if not again and len(frames) == 1 and 0 < len(frames[0].data) <= self._limits.delivery:
            data, urgent = frames[0].data, frames[0].urgent
            start = self._ledger.end - len(data)
            deliveries = [Delivery(start, data, False, None if urgent is None else start + urgent)]
        else:
            deliveries = again
            if frames:
                start = self._ledger.end - sum(len(frame.data) for frame in frames)
                deliveries = again + cut(frames, start, self._limits.delivery)
        outcome = otherwise
        if frames:
            outcome = Outcome.DELIVERED if any(len(frame.data) for frame in frames) else Outcome.EMPTY
        if opened.trouble is not None:
            outcome = opened.trouble
            return outcome, deliveries
        if self._wire_fin is not None:
            outcome, deliveries = self._at_fin(outcome, deliveries)
        if frames and self._end_with_fin and not self.finished:
            # FINp is what counts: the flag may have been cleared on the way (RFC 8548 section 3.7).
            return self._finish(deliveries)
        return outcome, deliveries

    def _at_fin(self, outcome: Outcome, deliveries: list[Delivery]) -> Received:
        """The FIN flag has come, with this segment or an earlier one."""
        held = self._held
        fin, reach = self._wire_fin, held.next + held.contiguous
        if fin is None or fin > reach:
            return outcome, deliveries
        self._wire_fin = None
        if self._end_with_fin:
            if fin == held.next:
                self._fin_came = True
                return self._finish(deliveries)
        elif fin == reach:
            if fin == held.next or self._cut_short or held.pinned > held.next:
                return Outcome.TRUNCATED, deliveries
            # The length of a frame that has not been verified may be wrong; the peer can send it again, once.
            self._cut_short = True
            self.failures += 1
            self._discard()
            return Outcome.FAILED, deliveries
        return outcome, deliveries

    def _finish(self, deliveries: list[Delivery]) -> Received:
        last = deliveries[-1] if deliveries else None
        if last is not None and last.start + len(last.data) == self.end:
            last.fin = True
        else:
            deliveries.append(Delivery(self.end, b"", True, None))
        outcome = Outcome.REPEATED if self.finished else Outcome.DELIVERED
        self.finished = True
        return outcome, deliveries

    def _again(self, wire: int, wire_end: int) -> list[Delivery]:
        """What the kernel has not acknowledged of the plaintext of wire bytes before `next_wire`."""
        ledger = self._ledger
        # From the frame's beginning on: the peer may have been told that this came (`commit`), and not send it again.
        start, end = ledger.start_of(wire), ledger.to_plain(wire_end)
        if wire_end <= ledger.wire or ledger.start == ledger.end:
            return []
        # Where only the header or the tag came again, the byte that travels with it stands for the frame.
        return self._kept(start, min(max(end, start + 1), ledger.end))

    def _kept(self, start: int, end: int) -> list[Delivery]:
        ledger, limit = self._ledger, self._limits.delivery
        return [
            Delivery(
                at,
                ledger.plaintext(at, min(at + limit, end)),
                False,
                self._urgent if self._urgent >= at else None,
            )
            for at in range(start, end, limit)
        ]

    def withheld(self, start: int, end: int) -> list[Delivery]:
        """Opened plaintext between two plain offsets, which the local kernel's window had no room for before."""
        deliveries = self._kept(max(start, self._ledger.start), min(end, self.end))
        if self.finished and end >= self.end and deliveries:
            deliveries[-1].fin = True
        return deliveries

    def commit(self, plain: int) -> None:
        """What has come of an unfinished frame is acknowledged from now on, when the local kernel has all before it.

        The peer goes on then where something is missing. A frame that is not authentic cannot be sent again any more
        (RFC 8548, section 3.6).

        Args:
            plain: What the local kernel has acknowledged.
        """
        if plain >= self.end and not self._end_with_fin:
            self._held.pin()
            self.committed = self._held.pinned

    def wire_acknowledgment(self, plain: int) -> int:
        """What an acknowledgment of the local kernel's acknowledges on the wire."""
        if plain == self._ledger.end:
            return self._held.pinned
        # The frame can be complete, and the kernel not have acknowledged it: nothing is taken back.
        return max(self.wire_position(plain), self.committed)

    def wire_position(self, plain: int) -> int:
        """Where what the local kernel has acknowledged ends on the wire."""
        return self._ledger.to_wire(plain) + (self._fin_came and plain > self._ledger.end)

    def acknowledge(self, plain: int) -> None:
        """Drops the plaintext that the local kernel has acknowledged."""
        if plain <= self.end + self.finished:
            self._ledger.drop_plain(plain)

    def plain_position(self, wire: int) -> int:
        """Where a segment without payload and FIN stands for the local kernel.

        What has been acknowledged stands before `end`, so that a keep-alive gets its answer. What is behind has no
        other place than `end` yet.
        """
        ledger = self._ledger
        if wire < max(ledger.wire, self.committed):
            # The local kernel need not have the frame that this was acknowledged of.
            return ledger.start - 1
        if wire < self.next_wire:
            return min(ledger.to_plain(wire), ledger.end - 1)
        return ledger.end + (self.finished and wire > self.next_wire)

    def sack_blocks(self, acknowledged: int) -> list[tuple[int, int]]:
        """What has come and is not acknowledged, in wire offsets, the range of the latest segment first.

        With a hole that includes what is before it: the local kernel has that, or it belongs to an unfinished frame.
        The peer would take it for lost. It is given from the second byte on, since a block that begins at the
        acknowledgment says nothing.
        """
        held = self._held
        blocks = held.sack_blocks()
        reach = held.next + held.contiguous
        if held.has_gap and acknowledged + 1 < reach:
            blocks.insert(1, (acknowledged + 1, reach))
        return blocks


def _needed(head: Buffer) -> int:
    """Bytes from the beginning of a frame on that are needed before anything can be done with it."""
    if len(head) < HEADER_LENGTH:
        return HEADER_LENGTH
    length: int = HEADER.unpack_from(head)[1]
    return HEADER_LENGTH + length
