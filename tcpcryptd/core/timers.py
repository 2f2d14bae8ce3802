"""Timers of all connections, on one clock."""

import heapq
from collections.abc import Callable
from itertools import count


class Timer:
    """A pending call; `cancel()` makes it void."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[float], None]) -> None:
        self.when = when
        self.callback: Callable[[float], None] | None = callback

    def cancel(self) -> None:
        """Cancels the call."""
        self.callback = None


class TimerQueue:
    """Timers in the order in which they fall due; times are seconds on the caller's monotonic clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._ties = count()
        self._compact_at = 64

    def schedule(self, when: float, callback: Callable[[float], None]) -> Timer:
        """Calls `callback(now)` at the first `run` from `when` on."""
        timer = Timer(when, callback)
        heapq.heappush(self._heap, (when, next(self._ties), timer))
        if len(self._heap) >= self._compact_at:
            self._drop_cancelled()
        return timer

    def next_timeout(self) -> float | None:
        """When `run` is due next."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run(self, now: float, report: Callable[[Exception], None]) -> None:
        """Makes every call that is due at `now`; what these schedule for `now` or before waits for the next run.

        An exception of one call goes to `report` and does not keep the others from being made.
        """
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        for timer in due:
            callback, timer.callback = timer.callback, None
            if callback is None:
                continue
            try:
                callback(now)
            except Exception as error:
                report(error)

    def _drop_cancelled(self) -> None:
        """Keeps the heap within twice the number of live timers, at constant cost per timer on average."""
        self._heap = [entry for entry in self._heap if entry[2].callback is not None]
        heapq.heapify(self._heap)
        self._compact_at = max(64, 2 * len(self._heap))
