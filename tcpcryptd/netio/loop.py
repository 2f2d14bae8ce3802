"""The event loop: one thread that waits for packets, clients and the engine's timeouts.

Compiled, it runs no Python handler of a signal by itself: `signals` wakes it with code that does.
"""

import math
import select
import time
from collections.abc import Callable
from typing import Final, Protocol

from tcpcryptd.core.event import Event
from tcpcryptd.core.stock import Stock
from tcpcryptd.core.verdict import Direction

MAX_EVENTS_PER_TURN: Final = 256
EVENT_BATCH: Final = 32
"""So many events do not wait for more."""
EVENT_DELAY: Final = 0.02
"""Seconds that an event waits for others at most."""
_LONGEST_WAIT: Final = 3600.0
_DRAIN_TURNS: Final = 64
_REFUSALS: Final = 4
"""How often what the engine injects because a packet was refused is sent within the same turn."""


class Source(Protocol):
    """What the loop waits for. A call of `handle_ready` does bounded work; what is left is ready again."""

    def fileno(self) -> int:
        """A descriptor that is readable when there is work."""

    def handle_ready(self) -> None:
        """Does some of the work."""


class LoopEngine(Protocol):
    """What the loop needs of the engine."""

    def next_timeout(self) -> float | None:
        """Seconds on the monotonic clock."""

    def handle_timeout(self, now: float) -> None:
        """Runs what is due."""

    def packets_to_inject(self) -> list[tuple[Direction, bytes, int]]:
        """Hands them over."""

    def handle_undeliverable(self, packet: bytes, direction: Direction, now: float) -> None:
        """One of them was refused for good."""

    def waiting_events(self) -> int:
        """How many there are for `next_event`."""

    def next_event(self) -> Event | None:
        """Hands one over."""


class EventLoop:
    """Runs until `stop`. Sources that are ready are served in the order in which they were added."""

    def __init__(
        self,
        engine: LoopEngine,
        inject: Callable[[Direction, bytes, int], bool],
        on_event: Callable[[Event], None],
        stock: Stock | None = None,
    ) -> None:
        """`stock` is refilled while nothing waits."""
        self._engine = engine
        self._inject = inject
        self._on_event = on_event
        self._stock = stock
        self._sources: dict[int, Source] = {}
        self._epoll = select.epoll()
        self._stopping = False
        self._on_hangup: Callable[[], None] | None = None
        self._hung_up = False
        self._beat: Callable[[], None] = lambda: None
        self._beat_interval = math.inf
        self._beat_due = math.inf
        self._events_due = math.inf

    def add(self, source: Source) -> None:
        """Serves a source from now on."""
        self._sources[source.fileno()] = source
        self._epoll.register(source.fileno(), select.EPOLLIN)

    def remove(self, source: Source) -> None:
        """Serves it no more."""
        del self._sources[source.fileno()]
        self._epoll.unregister(source.fileno())

    def stop(self) -> None:
        """Ends `run` after the turn at hand."""
        self._stopping = True

    def beat(self, interval: float, action: Callable[[], None]) -> None:
        """Calls `action` between two turns, every `interval` seconds, as long as the loop goes round."""
        self._beat, self._beat_interval = action, interval
        self._beat_due = time.monotonic()

    def run(self) -> None:
        """Serves until `stop`."""
        while not self._stopping:
            self._turn_or_refill()
            if self._hung_up and self._on_hangup is not None:
                self._hung_up = False
                self._on_hangup()

    def drain(self) -> None:
        """Serves what waits already, in a bounded number of turns, and passes the events on."""
        for _ in range(_DRAIN_TURNS):
            if not self.turn(0.0):
                break
        self._pass_on_events(_DRAIN_TURNS * MAX_EVENTS_PER_TURN)

    def turn(self, wait: float) -> bool:
        """Waits up to `wait` seconds for work and does it; whether there was any.

        Events are passed on together: a line of the log by itself costs as much as two packets of the handshake.
        """
        engine = self._engine
        ready = self._epoll.poll(wait)
        if len(ready) == 1:
            self._sources[ready[0][0]].handle_ready()
        elif ready:
            numbers = {number for number, _ in ready}
            for source in [source for number, source in self._sources.items() if number in numbers]:
                source.handle_ready()
        now = time.monotonic()
        due = engine.next_timeout()
        if due is not None and due <= now:
            engine.handle_timeout(now)
        self._send_injections()
        events = engine.waiting_events()
        if events >= EVENT_BATCH or now >= self._events_due:
            self._pass_on_events(MAX_EVENTS_PER_TURN)
            events = engine.waiting_events()
        if events and self._events_due == math.inf:
            self._events_due = now + EVENT_DELAY
        if now >= self._beat_due:
            self._beat_due = now + self._beat_interval
            self._beat()
        return bool(ready)

    def _turn_or_refill(self) -> None:
        if self._stock is None or not self._stock.is_short():
            self.turn(self._time_left())
        elif not self.turn(0.0):
            self._stock.refill()

    def collect(self) -> None:
        """Sends what the engine wants injected and passes its events on."""
        self._send_injections()
        self._pass_on_events(MAX_EVENTS_PER_TURN)

    def _send_injections(self) -> None:
        for _ in range(_REFUSALS):
            refused = [each for each in self._engine.packets_to_inject() if not self._inject(*each)]
            if not refused:
                break
            now = time.monotonic()
            for direction, packet, _ in refused:
                self._engine.handle_undeliverable(packet, direction, now)

    def _pass_on_events(self, limit: int) -> None:
        self._events_due = math.inf
        for _ in range(limit):
            event = self._engine.next_event()
            if event is None:
                break
            self._on_event(event)

    def handle_hangups(self, action: Callable[[], None] | None) -> None:
        """What `hang_up` has `run` do."""
        self._on_hangup = action

    def hang_up(self) -> None:
        """Calls the action between two turns of `run`."""
        self._hung_up = True

    def close(self) -> None:
        """Forgets the sources, which stay open."""
        self._sources.clear()
        self._epoll.close()

    def _time_left(self) -> float:
        if self._hung_up:
            return 0.0
        due = self._engine.next_timeout()
        soonest = min(self._beat_due, self._events_due)
        if due is not None:
            soonest = min(soonest, due)
        return min(max(0.0, soonest - time.monotonic()), _LONGEST_WAIT)
