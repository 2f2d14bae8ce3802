"""Collects an engine's output between two packets: packets to inject, and events."""

import math
import time
from collections.abc import Callable
from typing import Final, Protocol

from tcpcryptd.core.event import Event
from tcpcryptd.core.verdict import Direction

MAX_EVENTS_PER_TURN: Final = 256
EVENT_BATCH: Final = 32
"""Events that are passed on at once."""
EVENT_DELAY: Final = 0.02
"""Seconds that an event waits for others at most."""
_REFUSALS: Final = 4
"""How often what the engine injects because a packet was refused is sent within the same turn."""


class OutputEngine(Protocol):
    """The part of an engine that has output between two packets."""

    def packets_to_inject(self) -> list[tuple[Direction, bytes, int]]:
        """Hands them over."""

    def handle_undeliverable(self, packet: bytes, direction: Direction, now: float) -> None:
        """One of them was refused for good."""

    def waiting_events(self) -> int:
        """How many there are for `next_event`."""

    def next_event(self) -> Event | None:
        """Hands one over."""


class EngineOutput:
    """Sends what an engine injects, and passes its events on.

    Events are passed on together: a line of the log by itself costs as much as two packets of the handshake.
    """

    def __init__(
        self,
        engine: OutputEngine,
        inject: Callable[[Direction, bytes, int], bool],
        on_event: Callable[[Event], None],
    ) -> None:
        """`inject`: whether a packet was sent, or may be the next time."""
        self._engine = engine
        self._inject = inject
        self._on_event = on_event
        self.due = math.inf
        """When events have waited for others long enough."""

    def collect(self, now: float) -> None:
        """Sends all packets, and passes events on when there are many or it is time."""
        self.send()
        events = self._engine.waiting_events()
        if events >= EVENT_BATCH or now >= self.due:
            self.pass_on_events(MAX_EVENTS_PER_TURN)
            events = self._engine.waiting_events()
        if events and self.due == math.inf:
            self.due = now + EVENT_DELAY

    def send(self) -> None:
        """Sends all packets."""
        for _ in range(_REFUSALS):
            refused = [each for each in self._engine.packets_to_inject() if not self._inject(*each)]
            if not refused:
                break
            now = time.monotonic()
            for direction, packet, _ in refused:
                self._engine.handle_undeliverable(packet, direction, now)

    def pass_on_events(self, limit: int) -> None:
        """Passes on at most so many events."""
        self.due = math.inf
        for _ in range(limit):
            event = self._engine.next_event()
            if event is None:
                break
            self._on_event(event)
