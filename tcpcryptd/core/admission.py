"""Limits new connections under overload, while more packets come than can be handled.

Without a limit, packets of open connections are lost in full queues as often as SYN segments, and what each admitted
connection still sends makes it worse: none gets done. A SYN that is dropped is sent again after a second. To let it
pass in clear instead would leave what is encrypted to whoever can send many SYN segments.
"""

from typing import Final

from tcpcryptd.core.verdict import Direction

BURST: Final = {Direction.OUT: 256.0, Direction.IN: 1024.0}
"""Connections that may begin at once after a time without overload."""
PER_SECOND: Final = {Direction.OUT: 100.0, Direction.IN: 400.0}
"""Connections that may begin meanwhile: a transfer that takes all of the processor's time must not keep others out.

More for those that peers open: a peer whose SYN is lost several times takes the option for the reason, and goes on in
clear, while a SYN that does not leave this host keeps its option.
"""


class Admission:
    """Token buckets, filled up whenever all waiting packets have been handled."""

    def __init__(self) -> None:
        self._behind: set[int] = set()
        self._tokens = dict(BURST)
        self._counted = dict.fromkeys(BURST, 0.0)

    def handled(self, queue: int, more: bool) -> None:
        """Packets of a queue were handled; `more`: as many as are handled at a time, so that others may wait."""
        if more:
            self._behind.add(queue)
        elif queue in self._behind:
            self._behind.remove(queue)
            if not self._behind:
                self._tokens = dict(BURST)

    def admits(self, direction: Direction, now: float) -> bool:
        """Whether a connection may begin that the local host (OUT) or a peer opens."""
        counted, self._counted[direction] = self._counted[direction], now
        if not self._behind:
            return True
        tokens = min(BURST[direction], self._tokens[direction] + (now - counted) * PER_SECOND[direction])
        self._tokens[direction] = tokens - 1 if tokens >= 1 else tokens
        return tokens >= 1
