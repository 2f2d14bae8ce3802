import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import Closed, Event
from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio import engine_output
from tcpcryptd.netio.busy_polling import BusyPolling
from tcpcryptd.netio.engine_output import EVENT_BATCH, MAX_EVENTS_PER_TURN, EngineOutput
from tcpcryptd.netio.loop import EventLoop
from tcpcryptd.netio.process.signals import watch_signals

EVENT = Closed(Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2))


class FakeEngine:
    def __init__(self) -> None:
        self.due: float | None = None
        self.timeouts: list[float] = []
        self.injections: list[tuple[Direction, bytes, int]] = []
        self.refused: list[tuple[Direction, bytes]] = []
        self.events: list[Event] = []

    def next_timeout(self) -> float | None:
        return self.due

    def handle_timeout(self, now: float) -> None:
        self.timeouts.append(now)
        self.due = None

    def packets_to_inject(self) -> list[tuple[Direction, bytes, int]]:
        taken, self.injections = self.injections, []
        return taken

    def handle_undeliverable(self, packet: bytes, direction: Direction, _now: float) -> None:
        self.refused.append((direction, packet))
        self.injections = [(Direction.IN, b"answer to " + packet, 0)]

    def waiting_events(self) -> int:
        return len(self.events)

    def next_event(self) -> Event | None:
        return self.events.pop(0) if self.events else None


class Pipe:
    def __init__(self, work: Callable[[], None]) -> None:
        self.reader, self.writer = socket.socketpair()
        self._work = work

    def fileno(self) -> int:
        return self.reader.fileno()

    def handle_ready(self) -> None:
        self.reader.recv(1)
        self._work()

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


class Rig:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.injected: list[tuple[Direction, bytes, int]] = []
        self.events: list[Event] = []
        self.refuses = False
        self.output = EngineOutput(self.engine, self._inject, self.events.append)
        self.loop = EventLoop(self.engine, self.output)

    def _inject(self, direction: Direction, packet: bytes, route: int) -> bool:
        self.injected.append((direction, packet, route))
        return direction is Direction.IN or not self.refuses


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.loop.close()


def test_what_the_engine_has_is_collected_after_a_source_was_served(rig: Rig) -> None:
    def work() -> None:
        rig.engine.injections.append((Direction.OUT, b"packet", 7))
        rig.engine.events.extend([EVENT, EVENT])

    source = Pipe(work)
    rig.loop.add(source)
    source.writer.send(b"x")
    assert rig.loop.turn(10.0)
    assert rig.injected == [(Direction.OUT, b"packet", 7)]
    assert rig.events == []
    rig.loop.drain()
    assert rig.events == [EVENT, EVENT]
    assert not rig.loop.turn(0.0)
    source.close()


def test_the_engine_hears_of_what_was_refused_and_its_answer_goes_at_once(rig: Rig) -> None:
    rig.refuses = True
    rig.engine.injections.append((Direction.OUT, b"packet", 7))
    rig.loop.turn(0.0)
    assert rig.engine.refused == [(Direction.OUT, b"packet")]
    assert rig.injected == [(Direction.OUT, b"packet", 7), (Direction.IN, b"answer to packet", 0)]


def test_events_wait_for_others_until_there_are_many(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_output, "EVENT_DELAY", 3600.0)
    source = Pipe(lambda: rig.engine.events.append(EVENT))
    rig.loop.add(source)
    source.writer.send(bytes(EVENT_BATCH))
    for _ in range(EVENT_BATCH - 1):
        assert rig.loop.turn(10.0)
    assert rig.events == []
    assert rig.loop.turn(10.0)
    assert len(rig.events) == EVENT_BATCH
    source.close()


@pytest.mark.parametrize("count", [1, MAX_EVENTS_PER_TURN + 1])
def test_the_last_event_does_not_wait_for_a_packet(rig: Rig, count: int) -> None:
    def take(event: Event) -> None:
        rig.events.append(event)
        if len(rig.events) == count:
            rig.loop.stop()

    rig.output._on_event = take
    rig.engine.events += [EVENT] * count
    rig.loop.turn(0.0)
    assert len(rig.events) == count - 1
    rig.loop.run()
    assert len(rig.events) == count


def test_draining_passes_on_more_events_than_a_turn(rig: Rig) -> None:
    rig.engine.events += [EVENT] * (3 * MAX_EVENTS_PER_TURN)
    rig.loop.drain()
    assert len(rig.events) == 3 * MAX_EVENTS_PER_TURN


def test_sources_are_served_in_the_order_of_their_addition(rig: Rig) -> None:
    served: list[int] = []
    sources = [Pipe(lambda number=number: served.append(number)) for number in range(5)]  # type: ignore[misc]
    for source in sources:
        rig.loop.add(source)
    for source in reversed(sources):
        source.writer.send(b"x")
    rig.loop.turn(10.0)
    assert served == [0, 1, 2, 3, 4]
    for source in sources:
        source.close()


def test_timeout_is_handled_when_it_is_due_and_not_before(rig: Rig) -> None:
    rig.engine.due = time.monotonic() + 3600
    rig.loop.turn(0.0)
    assert rig.engine.timeouts == []
    due = rig.engine.due = time.monotonic() + 0.02
    while not rig.engine.timeouts:
        rig.loop.turn(0.001)
    assert rig.engine.timeouts[0] >= due


def test_what_is_due_at_once_waits_until_the_injections_have_gone_out(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = [(Direction.OUT, name, 0) for name in (b"at once", b"later")]

    def handle_timeout(_now: float) -> None:
        assert rig.injected == packets[:1]
        rig.engine.due = None
        rig.engine.injections = packets[1:]

    monkeypatch.setattr(rig.engine, "handle_timeout", handle_timeout)
    rig.engine.injections = packets[:1]
    rig.engine.due = time.monotonic()
    rig.loop.turn(0.0)
    assert rig.injected == packets


def test_run_waits_for_the_timeout_alone(rig: Rig) -> None:
    rig.engine.due = time.monotonic() + 0.02
    handle = rig.engine.handle_timeout

    def stop(now: float) -> None:
        handle(now)
        rig.loop.stop()

    rig.engine.handle_timeout = stop  # type: ignore[method-assign]
    rig.loop.run()
    assert len(rig.engine.timeouts) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_run_and_handlers_come_back(rig: Rig, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with watch_signals(rig.loop):
        sender = threading.Timer(0.01, os.kill, (os.getpid(), number))
        sender.start()
        rig.loop.run()
        sender.join()
    assert signal.getsignal(number) == before


def test_signal_before_run_ends_it_at_once(rig: Rig) -> None:
    with watch_signals(rig.loop):
        os.kill(os.getpid(), signal.SIGTERM)
        rig.loop.run()
    assert rig.engine.timeouts == []


def test_hangup_is_ignored(rig: Rig) -> None:
    with watch_signals(rig.loop):
        os.kill(os.getpid(), signal.SIGHUP)
        assert not rig.loop.turn(0.0)


def test_drain_serves_all_that_waits_and_ends(rig: Rig) -> None:
    served: list[int] = []
    source = Pipe(lambda: served.append(1))
    rig.loop.add(source)
    source.writer.send(b"xxx")
    rig.loop.drain()
    assert len(served) == 3
    endless = Pipe(lambda: None)
    endless.handle_ready = lambda: None  # type: ignore[method-assign]
    rig.loop.add(endless)
    endless.writer.send(b"x")
    rig.loop.drain()
    source.close()
    endless.close()


def test_a_beat_as_long_as_the_loop_goes_round(rig: Rig) -> None:
    beats: list[float] = []

    def beat() -> None:
        beats.append(time.monotonic())
        if len(beats) == 4:
            rig.loop.stop()

    begin = time.monotonic()
    rig.loop.beat(0.02, beat)
    rig.loop.run()
    # Two can be closer together, when the first is late.
    assert all(each - begin >= 0.0199 * number for number, each in enumerate(beats))
    assert beats[-1] - beats[0] < 5.0


def test_hangup_calls_back_between_turns(rig: Rig) -> None:
    calls: list[int] = []

    def on_hangup() -> None:
        calls.append(1)
        if len(calls) == 2:
            rig.loop.stop()
        else:
            os.kill(os.getpid(), signal.SIGHUP)

    with watch_signals(rig.loop, on_hangup):
        os.kill(os.getpid(), signal.SIGHUP)
        rig.loop.run()
    assert calls == [1, 1]


def test_what_a_hangup_has_the_engine_send_is_sent_at_once(rig: Rig) -> None:
    """Resets to peers that are believed no more, though no packet comes."""
    sent = (Direction.OUT, b"reset", 0)

    def on_hangup() -> None:
        rig.engine.injections.append(sent)
        rig.loop.stop()

    rig.loop.handle_hangups(on_hangup)
    rig.loop.hang_up()
    rig.loop.run()
    assert rig.injected == [sent]


class Stock:
    def __init__(self, capacity: int) -> None:
        self.missing = capacity
        self.made_on_demand = 0
        self.refilled_at: list[int] = []
        self.seen = 0

    def is_short(self) -> bool:
        return self.missing > 0

    def refill(self) -> None:
        self.missing -= 1
        self.refilled_at.append(self.seen)


def test_while_packets_come_often_the_next_one_is_awaited_awake() -> None:
    polling = BusyPolling(limit=60.0)
    polling.window = 60.0
    made = EventLoop(FakeEngine(), polling=polling)
    source = Pipe(lambda: None)
    made.add(source)
    timer = threading.Timer(0.05, lambda: source.writer.send(b"x"))
    timer.start()
    assert made.turn(30.0)
    timer.join()
    assert 0.0 < polling.seconds < 30.0
    # Not longer than it may wait at all.
    assert not made.turn(0.001)
    polling.window = 0.0
    awake = polling.seconds
    assert not made.turn(0.001)
    assert polling.seconds - awake < 0.001
    made.close()
    source.close()


def test_a_stock_is_refilled_while_nothing_waits() -> None:
    engine, stock = FakeEngine(), Stock(3)
    made = EventLoop(engine, stock=stock)

    def work() -> None:
        stock.seen += 1
        if stock.seen == 5:
            stock.missing += 1
        elif stock.seen == 6:
            made.stop()

    source = Pipe(work)
    made.add(source)
    source.writer.send(b"xxxxx")
    timer = threading.Timer(0.2, lambda: source.writer.send(b"x"))
    timer.start()
    made.run()
    timer.join()
    # Not before all that waits is done; when it is full the loop sleeps.
    assert stock.refilled_at == [5, 5, 5, 5]
    made.close()
    source.close()
