"""Which new connections are begun while more packets come than can be handled.

Without a limit, packets of open connections are lost in full queues as often as SYN segments, and what each admitted
connection still sends makes it worse: none gets done. A SYN that is dropped is sent again after a second. To let it
pass in clear instead would leave what is encrypted to whoever can send many SYN segments.
"""

BURST = 256
"""Connections that may begin after a time in which everything was handled."""
PER_SECOND = 100.0
"""Connections that may begin meanwhile: a transfer that takes all of the processor's time must not keep others out."""


class Admission:
    """A token bucket that is full whenever the packets that waited have all been handled."""

    def __init__(self) -> None:
        self._behind: set[int] = set()
        self._tokens = float(BURST)
        self._counted = 0.0

    def handled(self, queue: int, more: bool) -> None:
        """Packets of a queue were handled; `more`: as many as are handled at a time, so that others may wait."""
        if more:
            self._behind.add(queue)
        elif queue in self._behind:
            self._behind.remove(queue)
        if not self._behind:
            self._tokens = float(BURST)

    def admits(self, now: float) -> bool:
        """Whether a connection may begin."""
        if not self._behind:
            self._counted = now
            return True
        self._tokens = min(BURST, self._tokens + (now - self._counted) * PER_SECOND)
        self._counted = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
