"""A direction of a connection with the kernels at both ends and the network between, driven by a seeded generator."""

from random import Random

from tcpcryptd.eno.limits import Limits
from tcpcryptd.eno.stream.inbound_stream import Delivery, InboundStream, Outcome
from tcpcryptd.eno.stream.outbound_stream import OutboundStream, Piece
from tests.unit.eno.stream.fakes import FakeKeys

WIRE_START = 77
Segment = tuple[int, bytes, bool]


class SendingKernel:
    """Writes a stream in any cuts, and sends what is not acknowledged again in any others."""

    def __init__(self, random: Random, stream: bytes) -> None:
        self.random = random
        self.stream = stream
        self.acknowledged = 0
        self.sent = 0
        self.fin_sent = False
        self.held: set[int] = set()
        """What was selectively acknowledged, and need not be sent again."""

    @property
    def done(self) -> bool:
        return self.acknowledged == len(self.stream) + 1

    def missing(self) -> list[tuple[int, int, bool]]:
        """What has not been acknowledged in either way: start, end, FIN."""
        found = []
        end = len(self.stream)
        at = self.acknowledged
        while at < self.sent:
            stop = at
            while stop < self.sent and stop not in self.held:
                stop += 1
            if stop > at:
                found.append((at, stop, self.fin_sent and stop == end))
            at = stop + 1
        if self.fin_sent and not self.done and not (found and found[-1][2]):
            found.append((end, end, True))
        return found


class ReceivingKernel:
    """Takes what is in order and not dropped on the way to it."""

    def __init__(self) -> None:
        self.stream = bytearray()
        self.finished = False

    @property
    def next(self) -> int:
        return len(self.stream) + self.finished

    def take(self, delivery: Delivery, room: int) -> None:
        data = bytes(delivery.data)
        if delivery.start > len(self.stream):
            return
        known = len(self.stream) - delivery.start
        new = data[known:]
        if new or len(data) == known:
            self.stream += new[:room]
            self.finished |= delivery.fin and len(new) <= room


class Simulation:
    """Joins the two; every byte on the wire is compared with what stood there before."""

    def __init__(self, seed: int, *, corrupt: bool = False, drops: bool = False, limits: Limits | None = None) -> None:
        self.random = random = Random(seed)
        self.stream = random.randbytes(random.choice([0, 1, 5, 60, 400]))
        self.urgent = {random.randrange(len(self.stream) + 1) for _ in range(random.choice([0, 0, 2]))}
        limits = limits or Limits(delivery=random.choice([7, 50, 65_000]))
        keys = FakeKeys()
        self.outbound = OutboundStream(keys, WIRE_START, limits)
        self.inbound = InboundStream(keys, WIRE_START, limits)
        self.sender = SendingKernel(random, self.stream)
        self.receiver = ReceivingKernel()
        self.wire = bytearray()
        self.network: list[Segment] = []
        self.acknowledgments: list[tuple[int, list[tuple[int, int]]]] = []
        self.corrupt = corrupt
        self.drops = drops
        """Whether deliveries can fail to reach the kernel, or reach it in part."""
        self.commits = not corrupt
        """Whether parts of frames are acknowledged, which nobody sends again then."""
        self.corrupted = 0
        self.outcomes: set[Outcome] = set()
        self.urgent_seen: set[int] = set()
        self.rekeys = 0
        self.highest_wire_acknowledgment = 0

    # What leaves the sender.

    def put(self, piece: Piece | None, *, lossless: bool = False) -> None:
        """Onto the network, in other cuts, perhaps lost, twice, or with other bytes."""
        if piece is None:
            return
        payload = bytes(piece.payload)
        at = piece.wire - WIRE_START
        assert 0 <= at <= len(self.wire) or not payload
        known = self.wire[at : at + len(payload)]
        assert payload[: len(known)] == known, "a wire offset with two different bytes"
        self.wire += payload[len(known) :]
        for segment in self._cut(piece.wire, payload, piece.fin):
            copies = 1 if lossless else self.random.choice([0, 1, 1, 1, 2])
            self.network += [self._transmit(segment, lossless) for _ in range(copies)]

    def _cut(self, wire: int, payload: bytes, fin: bool) -> list[Segment]:
        segments = []
        while len(payload) > 1 and self.random.random() < 0.6:
            cut = self.random.randrange(1, len(payload))
            segments.append((wire, payload[:cut], False))
            wire, payload = wire + cut, payload[cut:]
        if payload or fin:
            segments.append((wire, payload, fin))
        return segments

    def _transmit(self, segment: Segment, lossless: bool) -> Segment:
        wire, payload, fin = segment
        if self.corrupt and not lossless and payload and self.random.random() < 0.05:
            changed = bytearray(payload)
            changed[self.random.randrange(len(changed))] ^= 1 << self.random.randrange(8)
            self.corrupted += 1
            return wire, bytes(changed), fin
        return segment

    def send_new(self) -> None:
        sender = self.sender
        if sender.fin_sent:
            return
        size = self.random.choice([0, 1, 1, 3, 20, 200])
        end = min(sender.sent + size, len(self.stream))
        fin = end == len(self.stream) and self.random.random() < 0.5
        start = self.random.randint(sender.acknowledged, sender.sent) if self.random.random() < 0.2 else sender.sent
        if start == end and not fin:
            return
        urgent = next((byte for byte in self.urgent if start <= byte), None)
        segment = self.random.choice([0, 0, 1, 3, 20])
        segment = segment if segment < end - start else 0
        piece = self.outbound.send(start, self.stream[start:end], fin, urgent, segment)
        if piece is not None and segment:
            self._check_cuts(piece, self.outbound.cuts(start, end, segment))
        if piece is not None:
            sender.sent, sender.fin_sent = end, fin and piece.fin
        self.put(piece)

    def _check_cuts(self, piece: Piece, cuts: list[int]) -> None:
        assert cuts == sorted({*cuts})
        assert cuts[-1] < piece.wire + len(piece.payload)

    def send_again(self) -> None:
        missing = self.sender.missing()
        if missing:
            start, end, fin = self.random.choice(missing)
            if end > start and self.random.random() < 0.7:
                first = self.random.randrange(start, end)
                last = self.random.randint(first + 1, end)
                start, end, fin = first, last, fin and last == end and self.random.random() < 0.5
            self.put(self.outbound.send(start, self.stream[start:end], fin))

    def send_old(self) -> None:
        """Something that may be acknowledged already, and FIN alone."""
        sender = self.sender
        start = self.random.randint(0, sender.sent)
        end = self.random.randint(start, sender.sent)
        fin = sender.fin_sent and end == len(self.stream)
        if start < end or fin:
            self.put(self.outbound.send(start, self.stream[start:end], fin))

    def send_nothing(self) -> None:
        """Pure acknowledgments and keep-alives leave no bytes; their places are in order."""
        position = self.sender.sent + self.sender.fin_sent
        piece = self.outbound.send(position, b"")
        assert piece is not None
        place = self.outbound.wire_end + self.sender.fin_sent
        assert (piece.wire, piece.payload, piece.fin) == (place, b"", False)
        before = self.outbound.wire_position(self.sender.acknowledged - 1)
        assert before < self.outbound.wire_position(self.sender.acknowledged)
        # The receiver has to answer a keep-alive: it must not look new to its kernel.
        assert self.inbound.plain_position(before) < max(self.receiver.next, 1)

    def send_frame_without_data(self) -> None:
        if self.random.random() < 0.5:
            self.outbound.rekey()
        self.put(self.outbound.empty_frame())

    def rekey(self) -> None:
        self.outbound.rekey()
        self.rekeys += 1

    def follow(self) -> None:
        """The peer has answered our rekeying, or begins one itself."""
        remote = max(self.inbound.generation, self.outbound.remote_generation)
        self.put(self.outbound.follow(remote + self.random.choice([0, 0, 1, 2])))

    def timer(self) -> None:
        self.put(self.outbound.unacknowledged_empty())

    # What reaches the receiver, and what comes back.

    def arrive(self) -> None:
        if self.network:
            index = self.random.choice([0, 0, self.random.randrange(len(self.network))])
            self.receive(self.network.pop(index))

    def receive(self, segment: Segment, *, lossless: bool = False) -> None:
        wire, payload, fin = segment
        outcome, deliveries = self.inbound.receive(wire, payload, fin)
        self.outcomes.add(outcome)
        self._check(outcome, deliveries)
        for delivery in deliveries:
            reliable = lossless or not self.drops
            if reliable or self.random.random() < 0.9:
                room = 1 << 20 if reliable or self.random.random() < 0.9 else self.random.randint(0, 10)
                self.receiver.take(delivery, room)
        if self.random.random() < 0.7 or lossless:
            self.acknowledge()

    def _check(self, outcome: Outcome, deliveries: list[Delivery]) -> None:
        assert outcome is not Outcome.INVALID
        if not self.corrupt:
            assert outcome not in (Outcome.FAILED, Outcome.TRUNCATED, Outcome.REFUSED)
            assert self.inbound.conflicts == 0
        at = deliveries[0].start if deliveries else 0
        for delivery in deliveries:
            end = delivery.start + len(delivery.data)
            assert delivery.start == at
            assert bytes(delivery.data) == self.stream[delivery.start : end]
            assert not delivery.fin or end == len(self.stream)
            if delivery.urgent is not None:
                assert delivery.urgent in self.urgent
                self.urgent_seen.add(delivery.urgent)
            at = end

    def acknowledge(self) -> None:
        """The receiving kernel acknowledges what it has."""
        inbound, plain = self.inbound, self.receiver.next
        if self.commits and self.random.random() < 0.3:
            inbound.commit(plain)
        wire = inbound.wire_acknowledgment(plain)
        inbound.acknowledge(plain)
        assert wire == inbound.wire_acknowledgment(plain)
        assert wire >= self.highest_wire_acknowledgment
        self.highest_wire_acknowledgment = wire
        blocks = inbound.sack_blocks(wire)
        assert len(blocks) <= 5
        assert all(left < right for left, right in blocks)
        if self.random.random() < 0.8:
            self.acknowledgments.append((wire, blocks))

    def acknowledgment_arrives(self) -> None:
        if self.acknowledgments:
            index = self.random.choice([0, self.random.randrange(len(self.acknowledgments))])
            wire, blocks = self.acknowledgments.pop(index)
            before = self.outbound.plain_acknowledgment(wire)
            self.outbound.acknowledge(wire)
            plain = self.outbound.plain_acknowledgment(wire)
            assert before == plain
            assert plain <= (self.sender.sent + self.sender.fin_sent if self.commits else self.receiver.next)
            self.sender.acknowledged = max(self.sender.acknowledged, plain)
            for start, end in self.outbound.plain_sack(blocks):
                assert 0 <= start < end <= self.sender.sent
                self.sender.held.update(range(start, end))

    # Runs.

    def run(self, steps: int) -> None:
        actions = [
            *[self.send_new] * 6,
            *[self.arrive] * 14,
            *[self.acknowledgment_arrives] * 5,
            *[self.send_again] * 3,
            self.send_old,
            self.send_nothing,
            self.send_frame_without_data,
            self.rekey,
            self.follow,
            self.timer,
        ]
        for _ in range(steps):
            self.random.choice(actions)()
            assert self.stream.startswith(self.receiver.stream)

    def recover(self) -> None:
        """Nothing is lost any more; whatever the sender has not been told of comes again until it is done."""
        self.network.clear()
        for _ in range(4):
            while self.sender.sent < len(self.stream) or not self.sender.fin_sent:
                self.send_new()
            if self.corrupt or self.drops:
                # After a retransmission timeout selective acknowledgments do not count (RFC 2018, section 8).
                self.sender.held.clear()
            for start, end, fin in self.sender.missing():
                self.put(self.outbound.send(start, self.stream[start:end], fin), lossless=True)
            self.put(self.outbound.unacknowledged_empty(), lossless=True)
            while self.network:
                self.receive(self.network.pop(0), lossless=True)
            self.acknowledgments.append(
                (self.inbound.wire_acknowledgment(self.receiver.next), self.inbound.sack_blocks(0))
            )
            while self.acknowledgments:
                self.acknowledgment_arrives()
            if self.sender.done:
                return
