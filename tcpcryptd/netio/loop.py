"""The event loop: one thread that waits for packets, clients and the engine's timeouts.

Compiled, it runs no Python handler of a signal by itself: `signals` wakes it with code that does.
"""

import math
import os
import select
import time
from collections.abc import Callable
from typing import Final, Protocol

from tcpcryptd.core.stock import Stock
from tcpcryptd.netio.busy_polling import BusyPolling
from tcpcryptd.netio.engine_output import MAX_EVENTS_PER_TURN, EngineOutput

_LONGEST_WAIT: Final = 3600.0
_DRAIN_TURNS: Final = 64


class Source(Protocol):
    """What the loop waits for. A call of `handle_ready` does bounded work; the source stays ready for the rest."""

    def fileno(self) -> int:
        """A descriptor that is readable when there is work."""

    def handle_ready(self) -> None:
        """Does some of the work."""


class Timers(Protocol):
    """What is due at some time."""

    def next_timeout(self) -> float | None:
        """Seconds on the monotonic clock."""

    def handle_timeout(self, now: float) -> None:
        """Runs what is due."""


class EventLoop:
    """Runs until `stop`. Sources that are ready are served in the order in which they were added."""

    def __init__(
        self,
        timers: Timers,
        output: EngineOutput | None = None,
        stock: Stock | None = None,
        polling: BusyPolling | None = None,
    ) -> None:
        """`output` is collected in each turn; `stock` is refilled while nothing waits; `polling`: whether it sleeps."""
        self._timers = timers
        self._output = output
        self._stock = stock
        self._polling = polling if polling is not None and polling.limit > 0 else None
        self._sources: dict[int, Source] = {}
        self._epoll = select.epoll()
        self._stopping = False
        self._on_hangup: Callable[[], None] | None = None
        self._hung_up = False
        self._beat: Callable[[], None] = lambda: None
        self._beat_interval = math.inf
        self._beat_due = math.inf

    def add(self, source: Source) -> None:
        """Serves a source from now on."""
        self._sources[source.fileno()] = source
        self._epoll.register(source.fileno(), select.EPOLLIN)

    def remove(self, source: Source) -> None:
        """Serves it no more."""
        del self._sources[source.fileno()]
        self._epoll.unregister(source.fileno())

    def stop(self) -> None:
        """Ends `run` after the present turn."""
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
                if self._output is not None:
                    # No packet need come that would have it collected.
                    self._output.collect(time.monotonic())

    def drain(self) -> None:
        """Serves what waits already, in a bounded number of turns, and passes the events on."""
        for _ in range(_DRAIN_TURNS):
            if not self.turn(0.0):
                break
        if self._output is not None:
            self._output.pass_on_events(_DRAIN_TURNS * MAX_EVENTS_PER_TURN)

    def turn(self, wait: float) -> bool:
        """Waits up to `wait` seconds for work and does it; whether there was any."""
        ready = self._wait(wait)
        if len(ready) == 1:
            self._sources[ready[0][0]].handle_ready()
        elif ready:
            numbers = {number for number, _ in ready}
            for source in [source for number, source in self._sources.items() if number in numbers]:
                source.handle_ready()
        now = time.monotonic()
        if self._output is not None:
            # First, since somebody may wait for it, and handlers put off until then what nobody waits for.
            self._output.collect(now)
        due = self._timers.next_timeout()
        if due is not None and due <= now:
            self._timers.handle_timeout(now)
            if self._output is not None:
                self._output.collect(now)
        if now >= self._beat_due:
            self._beat_due = now + self._beat_interval
            self._beat()
        return bool(ready)

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        polling = self._polling
        if polling is None or seconds <= 0:
            return self._epoll.poll(seconds)
        ready = self._epoll.poll(0)
        if ready:
            return ready
        begun = now = time.monotonic()
        end = begun + min(seconds, polling.window)
        while now < end and not ready:
            # Whoever shares the processor goes first.
            os.sched_yield()
            ready = self._epoll.poll(0)
            now = time.monotonic()
        polling.seconds += now - begun
        if not ready:
            ready = self._epoll.poll(max(0.0, begun + seconds - now))
            now = time.monotonic()
        polling.waited(now - begun)
        return ready

    def _turn_or_refill(self) -> None:
        if self._stock is None or not self._stock.is_short():
            self.turn(self._time_left())
        elif not self.turn(0.0):
            self._stock.refill()

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
        due = self._timers.next_timeout()
        soonest = self._beat_due
        if self._output is not None:
            soonest = min(soonest, self._output.due)
        if due is not None:
            soonest = min(soonest, due)
        return min(max(0.0, soonest - time.monotonic()), _LONGEST_WAIT)
