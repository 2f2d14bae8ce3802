"""What the states of a handshake have in common."""

from tcpcryptd.core.protocol import Description, Injection
from tcpcryptd.crypt.handshake import Handshake


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
