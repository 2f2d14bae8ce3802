"""What the states of a handshake have in common."""

from tcpcryptd.core.protocol import ACCEPT, DROP, Description, Direction, Injection, Verdict
from tcpcryptd.crypt.handshake import Handshake
from tcpcryptd.wire.segment import FIN, RST, SYN, Segment
from tcpcryptd.wire.sequence import add


class HandshakeState:
    """A state without keys: nothing is agreed, and neither kernel has sent data."""

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._connection = handshake.connection

    def describe(self) -> Description:
        """Nothing is known yet."""
        return Description()

    def resets(self) -> list[Injection]:
        """For what the two kernels have sent so far: their SYNs."""
        return self._handshake.resets()

    def rekey(self) -> None:
        """There are no keys."""

    def held_back(self, segment: Segment, now: float) -> Verdict | None:
        """The verdict on what the local kernel sends; None for its ACK of the SYN ACK, which can carry our option."""
        if segment.flags & RST:
            return ACCEPT
        if segment.is_opening and segment.sequence != self._handshake.local.isn:
            return self._connection.renew(segment, Direction.OUT, now)
        first = add(self._handshake.local.isn, 1)
        if segment.flags & (SYN | FIN) or segment.payload_length or segment.sequence != first:
            # The window is closed; what comes all the same is sent again by the kernel.
            self._connection.count("held_back")
            return DROP
        self._handshake.saw(segment, Direction.OUT, now)
        return None
