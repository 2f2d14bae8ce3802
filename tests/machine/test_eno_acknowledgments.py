"""What is acknowledged of frames that are not complete, of which the local kernel sees nothing.

The client's daemon seals frames as large as its kernel's packets; what carries them to the server is a TCP sender of
its own, as in a host whose TCP has tcpcrypt built in: its frames know nothing of its windows.
"""

from dataclasses import dataclass, field

import pytest

from tcpcryptd.eno.limits import ACK_DELAY
from tcpcryptd.eno.stream.packets import is_marked, marked, sack_blocks
from tcpcryptd.netio.packets.forwarded import cut
from tcpcryptd.wire.segment import ACK, FIN, PSH, SYN, Segment
from tcpcryptd.wire.sequence import add, difference
from tests.machine.endpoint import Behaviour, Socket
from tests.machine.link import Crossing, view
from tests.machine.world import ENO, LIMIT, PORT, World, make_engine, text

SEGMENT = 1400
MIN_TIMEOUT = 0.2
LARGE_FRAMES = Behaviour(segments_in_packet=45, in_flight=64_000)


@dataclass
class SlowStart:
    """A filter: the client's frames go out in full segments without PSH, as congestion and peer's window allow."""

    world: World
    window: int = 2 * SEGMENT
    """The congestion window."""
    timeouts: int = 0
    sent: int = 0
    """Segments, those of timeouts as well."""
    acknowledgments: list[Segment] = field(default_factory=list)
    _stream: bytearray = field(default_factory=bytearray)
    _template: Segment | None = None
    start: int | None = None
    """The sequence number of the first frame."""
    _next: int = 0
    _acknowledged: int = 0
    _peer_window: int = 0
    _timer: int = 0

    def __call__(self, crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if crossing.sender == "server":
            return [self._from_server(segment)]
        if segment.flags & SYN or not (segment.payload_length or self.start is not None):
            return [crossing.packet]
        if self.start is None:
            # Init1 goes as it is.
            self.start = segment.end
            return [crossing.packet]
        self._template = segment
        at = difference(segment.sequence, self.start)
        if segment.payload_length and at <= len(self._stream):
            self._stream += segment.payload[len(self._stream) - at :]
        self._push()
        return [] if segment.payload_length or segment.flags & FIN else [crossing.packet]

    def _from_server(self, segment: Segment) -> bytes:
        self._peer_window = segment.window
        if self.start is not None and not segment.flags & SYN:
            if not segment.payload_length:
                self.acknowledgments.append(segment)
            fresh = difference(segment.acknowledgment, self.start) - self._acknowledged
            if fresh > 0:
                self._acknowledged += fresh
                self.window += min(fresh, SEGMENT)
                self._timer += 1
                if self._acknowledged < self._next:
                    self._start_timer()
            self._push()
        # What seals frames does not look at the window.
        return segment.edited(window=0xFFFF)

    def _push(self) -> None:
        limit = self._acknowledged + min(self.window, self._peer_window)
        while self._next < min(limit, len(self._stream)):
            size = min(SEGMENT, len(self._stream) - self._next)
            if self._next + size > limit:
                # Clark's algorithm: no small segments into what is left of a window (RFC 9293 section 3.8.6.2.1).
                break
            self._send(self._next, size)
            self._next += size

    def _send(self, at: int, size: int) -> None:
        assert self._template is not None
        assert self.start is not None
        flags = ACK | (PSH if at + size == len(self._stream) else 0)
        packet = self._template.edited(
            sequence=add(self.start, at), flags=flags, payload=bytes(self._stream[at : at + size])
        )
        self.sent += 1
        self.world.clock.after(0.01, lambda: self.world.link.deliver("client", packet))
        self._start_timer()

    def _start_timer(self) -> None:
        self._timer += 1
        timer = self._timer
        self.world.clock.after(MIN_TIMEOUT, lambda: self._timeout(timer))

    def _timeout(self, timer: int) -> None:
        if timer == self._timer and self._acknowledged < self._next:
            self.timeouts += 1
            self._send(self._acknowledged, min(SEGMENT, len(self._stream) - self._acknowledged))


def connected(server: Behaviour | None = None) -> tuple[World, SlowStart, Socket, Socket]:
    world = World(client=make_engine("c", ENO), server=make_engine("s", ENO))
    world.server.stack.listen(PORT, server)
    slow = SlowStart(world)
    world.link.filters.append(slow)
    return world, slow, *world.connect(behaviour=LARGE_FRAMES)


def test_a_sender_that_begins_slowly_has_no_timeouts() -> None:
    """With frames that take several round trips, and no loss: neither a timeout, nor more answers than TCP gives."""
    world, slow, client, server = connected()
    data = text(300_000)
    client.write(data)
    assert world.clock.run_until(lambda: len(server.received) == len(data), LIMIT), world.trace()
    assert bytes(server.received) == data
    assert slow.timeouts == 0
    frames = len(data) // 60_000 + 1
    assert len(slow.acknowledgments) <= slow.sent // 2 + 2 * frames
    numbers = [segment.acknowledgment for segment in slow.acknowledgments]
    assert not any(numbers.count(number) > 2 for number in set(numbers)), "looks like loss"
    world.assert_encrypted()


def test_a_part_of_a_frame_is_acknowledged_in_time() -> None:
    """Alone after a delay, two full segments at once."""
    world, slow, client, server = connected()
    slow.window = SEGMENT
    client.write(text(30_000))
    assert world.clock.run_until(lambda: slow.sent == 1, LIMIT)
    began, before = world.clock.now, len(slow.acknowledgments)
    assert world.clock.run_until(lambda: len(slow.acknowledgments) > before, LIMIT)
    assert ACK_DELAY <= world.clock.now - began <= ACK_DELAY + 0.03
    assert slow.start is not None
    assert slow.acknowledgments[-1].acknowledgment == add(slow.start, SEGMENT)
    assert slow.sent == 3
    began, before = world.clock.now, len(slow.acknowledgments)
    assert world.clock.run_until(lambda: len(slow.acknowledgments) > before, LIMIT)
    assert world.clock.now - began <= 0.02
    assert not server.received


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
def test_a_frame_can_be_larger_than_the_window(strict: bool) -> None:
    """The kernel's window stays what it is, since it has seen nothing; the frame is finished all the same."""
    world, slow, client, server = connected(Behaviour(window=3_000, whole_or_nothing=strict))
    server.reading = not strict

    def read() -> None:
        if server.unread:
            server.drain()
        world.clock.after(0.03, read)

    read()
    data = text(100_000)
    client.write(data)
    assert world.clock.run_until(lambda: len(server.received) == len(data), LIMIT), world.trace()
    assert bytes(server.received) == data
    # A whole frame is acknowledged when the application has made room for it: until then its end is sent again.
    assert slow.timeouts <= (4 if strict else 0)
    world.assert_encrypted()


def test_what_is_taken_beyond_the_window_is_bounded() -> None:
    """An application that reads nothing: of a peer whose frames fill the wire's window no more than one is kept."""
    world, slow, client, server = connected(Behaviour(window=3_000, whole_or_nothing=True))
    server.reading = False
    client.write(text(500_000))
    world.clock.run_for(60.0)
    assert len(server.received) == 3_000
    assert slow._next <= 3_000 + 64_000 + 2 * SEGMENT
    server.resume_reading()
    assert world.clock.run_until(lambda: len(server.received) == 500_000, LIMIT), world.trace()
    world.assert_encrypted()


def test_a_reset_is_obeyed_while_a_part_is_withheld() -> None:
    world, _, client, server = connected(Behaviour(window=3_000, whole_or_nothing=True))
    server.reading = False
    client.write(text(60_000))
    assert world.clock.run_until(lambda: len(server.received) == 3_000, LIMIT)
    world.clock.run_for(1.0)
    server._send(ACK, server._highest)
    assert world.server.daemon.reset(*world.ends(client)[::-1])
    world.server.collect()
    assert world.clock.run_until(lambda: server.error == "reset", 1.0)


@pytest.mark.parametrize("version", [4, 6])
def test_a_mark_on_a_part_of_a_frame_is_handed_on(version: int) -> None:
    """A router that marks what it would drop (RFC 3168): the local kernel is given one packet for many."""
    world = World(client=make_engine("c", ENO), server=make_engine("s", ENO), version=version)
    client, server = world.connect(behaviour=Behaviour(segments_in_packet=8))
    world.exchange(client, server, 100)
    marks: list[bool] = []
    receive = world.server.stack.receive

    def received(packet: bytes) -> None:
        if view(packet).payload_length:
            marks.append(is_marked(packet))
        receive(packet)

    def mark_first(crossing: Crossing) -> list[bytes]:
        first, *others = cut(crossing.packet, 1500)
        if crossing.sender == "client" and others and not cuts:
            first = marked(first)
        cuts.append(len(others))
        return [first, *others]

    cuts: list[int] = []
    world.server.stack.receive = received  # type: ignore[method-assign]
    world.link.filters.append(mark_first)
    client.write(text(8 * 1400))
    client.write(text(8 * 1400))
    assert world.clock.run_until(lambda: len(server.received) >= 16 * 1400, LIMIT)
    assert cuts[0]
    assert marks[0]
    assert not any(marks[1:])
    world.assert_healthy()


@pytest.mark.parametrize("late", [0.001, 0.1], ids=["not acknowledged yet", "acknowledged"])
def test_the_sender_learns_what_came_twice(late: float) -> None:
    """RFC 2883: its kernel can tell reordering from loss then. The kernel's own blocks count plaintext, as always."""
    world = World(client=make_engine("c", ENO), server=make_engine("s", ENO))
    client, server = world.connect()
    world.exchange(client, server, 1000)
    sent, before = client._highest, len(server.received)

    def twice(crossing: Crossing) -> list[bytes]:
        if crossing.sender == "client" and crossing.segment.payload_length:
            world.clock.after(0.01 + late, lambda: world.link.deliver("client", crossing.packet))
        return [crossing.packet]

    blocks: list[tuple[int, int]] = []
    receive = world.client.stack.receive

    def received(packet: bytes) -> None:
        blocks.extend(sack_blocks(packet, view(packet).offset))
        receive(packet)

    world.client.stack.receive = received  # type: ignore[method-assign]
    world.link.filters.append(twice)
    client.write(text(900))
    world.clock.run_for(1.0)
    assert blocks == [(add(client.isn, sent), add(client.isn, sent + 900))]
    assert len(server.received) == before + 900
    world.assert_healthy()


def test_what_was_overtaken_keeps_its_place_for_the_local_kernel() -> None:
    """It has an older timestamp than the kernel has had with the acknowledgment in the segment that was first."""
    held: list[bytes] = []
    begun = False

    def overtaken(crossing: Crossing) -> list[bytes]:
        nonlocal begun
        if not begun or crossing.sender != "client" or not crossing.segment.payload_length:
            return [crossing.packet]
        if not held:
            held.append(crossing.packet)
            return []
        begun = False
        return [crossing.packet, held[0]]

    world = World(client=make_engine("c", ENO), server=make_engine("s", ENO), filters=[overtaken])
    client, server = world.connect()
    world.exchange(client, server, 1000)
    begun = True
    before = len(server.received)
    # Something to be acknowledged by the second segment.
    server.write(text(100))
    client.write(text(100))
    world.clock.run_for(0.025)
    client.write(text(100))
    world.clock.run_for(0.1)
    assert held
    assert len(server.received) == before + 200, world.trace()
    world.assert_healthy()
