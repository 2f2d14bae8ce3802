"""How often a worker may die before the daemon gives up."""

from collections import deque

MAX_DEATHS = 5
WINDOW = 60.0
"""Seconds."""


class RespawnLimit:
    """Of one worker: MAX_DEATHS within WINDOW."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)

    def allows(self, now: float) -> bool:
        """Notes a death; whether the worker may be replaced."""
        self._deaths.append(now)
        return len(self._deaths) < MAX_DEATHS or now - self._deaths[0] > WINDOW
