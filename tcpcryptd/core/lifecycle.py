"""TCP's closing, as far as it decides how long keys are kept."""

import enum

from tcpcryptd.core.verdict import Direction
from tcpcryptd.wire.segment import FIN, RST


class Phase(enum.Enum):
    """How far a connection has come."""

    OPENING = enum.auto()
    OPEN = enum.auto()
    HALF_CLOSED = enum.auto()
    CLOSED = enum.auto()
    """Both FIN seen, or an RST. Keys stay for a while, so that retransmissions are encrypted, too."""


class Lifecycle:
    """The phase of one connection; fed with the flags of segments that were found authentic."""

    __slots__ = ("_finished", "phase")

    def __init__(self) -> None:
        self.phase = Phase.OPENING
        self._finished: set[Direction] = set()

    def established(self) -> None:
        """The handshake is over, if the connection is not."""
        if self.phase is Phase.OPENING:
            self.phase = Phase.OPEN

    def saw(self, flags: int, direction: Direction) -> None:
        """A segment with FIN or RST passed."""
        if flags & RST:
            self.phase = Phase.CLOSED
        elif flags & FIN:
            self._finished.add(direction)
            self.phase = Phase.CLOSED if len(self._finished) == 2 else Phase.HALF_CLOSED
