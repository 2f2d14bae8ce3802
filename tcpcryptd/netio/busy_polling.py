"""How long the event loop looks for the next packet awake: to wake a process can take longer than what it does then."""

from typing import Final

DEFAULT: Final = 200
"""Microseconds, as `MAX`."""
MAX: Final = 10_000
_FIRST_WINDOW: Final = 20e-6


class BusyPolling:
    """A window that follows how long packets have been waited for, as KVM's halt polling does.

    What comes less often than every `limit` seconds is not waited for awake.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.window = 0.0
        """Seconds to stay awake the next time."""
        self.seconds = 0.0
        """Spent awake in vain or not."""

    def waited(self, seconds: float) -> None:
        """Notes how long it took until something came."""
        if seconds >= self.limit:
            self.window = 0.0
        elif seconds > self.window:
            self.window = min(self.limit, max(_FIRST_WINDOW, 2 * self.window))
