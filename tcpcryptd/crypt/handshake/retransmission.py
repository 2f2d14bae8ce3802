"""Retransmission of packets that no kernel retransmits."""

from collections.abc import Callable, Sequence

from tcpcryptd.core.protocol import ConnectionHandle, Direction


class Retransmission:
    """Injects a packet again, a bounded number of times, then calls `give_up(now)`. Uses the connection's timer."""

    def __init__(
        self,
        connection: ConnectionHandle,
        packet: bytes,
        intervals: Sequence[float],
        give_up: Callable[[float], None],
    ) -> None:
        """`intervals`: seconds; it is given up after the last one."""
        self._intervals = intervals
        self._connection = connection
        self._packet = packet
        self._give_up = give_up
        self._tries = 0

    def start(self, now: float) -> None:
        """The packet was sent at `now`."""
        self._connection.set_timer(now + self._intervals[self._tries], self._timeout)

    def repeat(self) -> None:
        """Sends the packet again at once, since the peer does not seem to have it."""
        self._connection.inject(Direction.OUT, self._packet)

    def _timeout(self, now: float) -> None:
        self._tries += 1
        if self._tries == len(self._intervals):
            self._give_up(now)
            return
        self._connection.count("handshake_retransmissions")
        self.repeat()
        self.start(now)
