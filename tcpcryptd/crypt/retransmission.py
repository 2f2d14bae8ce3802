"""Sending again what no kernel stands behind (spec section 3)."""

from collections.abc import Callable

from tcpcryptd.core.protocol import Connection, Direction
from tcpcryptd.crypt.limits import RETRANSMISSION_INTERVALS


class Retransmission:
    """Injects a packet again after growing intervals, a bounded number of times, then calls `give_up(now)`."""

    def __init__(self, connection: Connection, packet: bytes, give_up: Callable[[float], None]) -> None:
        self._connection = connection
        self._packet = packet
        self._give_up = give_up
        self._tries = 0

    def start(self, now: float) -> None:
        """The packet was sent at `now`."""
        self._connection.set_timer(now + RETRANSMISSION_INTERVALS[self._tries], self._timeout)

    def repeat(self) -> None:
        """Sends the packet again at once, since the peer seems not to have it."""
        self._connection.inject(Direction.OUT, self._packet)

    def _timeout(self, now: float) -> None:
        self._tries += 1
        if self._tries == len(RETRANSMISSION_INTERVALS):
            self._give_up(now)
            return
        self._connection.count("handshake_retransmissions")
        self.repeat()
        self.start(now)
