"""A virtual clock: events in the order of their time, none of it real."""

import heapq
from collections.abc import Callable
from itertools import count


class Clock:
    """Runs what was scheduled; times are seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ties = count()

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (max(when, self.now), next(self._ties), action))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay, action)

    def run_until(self, condition: Callable[[], bool], limit: float) -> bool:
        """Runs events until the condition holds; False when `limit` seconds have passed, or nothing is left, before."""
        deadline = self.now + limit
        while not condition():
            if not self._heap or self._heap[0][0] > deadline:
                self.now = deadline
                return condition()
            self.now, _, action = heapq.heappop(self._heap)
            action()
        return True

    def run_for(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds)
