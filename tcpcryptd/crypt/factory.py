"""The CRYPT protocol as the engine is given it."""

from tcpcryptd.core.connection import Connection
from tcpcryptd.core.verdict import Verdict
from tcpcryptd.crypt import option
from tcpcryptd.crypt.config import CryptConfig
from tcpcryptd.crypt.constants import CRYPT, MAC, Opcode
from tcpcryptd.crypt.handshake import Handshake
from tcpcryptd.crypt.hello import HelloReceived, HelloSent
from tcpcryptd.wire.segment import Segment


class CryptFactory:
    """Begins the handshake of a new connection, in either role."""

    name = "crypt"

    def __init__(self, config: CryptConfig) -> None:
        self._config = config

    def offer(self, connection: Connection, syn: Segment, now: float) -> Verdict:
        """The local host opens a connection."""
        return HelloSent(Handshake(connection, self._config)).offer(syn, now)

    def answer(self, connection: Connection, syn: Segment, now: float) -> Verdict | None:
        """A peer opens a connection; None when its SYN says nothing of this protocol (spec section 2)."""
        hello = option.find(option.read(syn), *_OPENINGS)
        if hello is None:
            return None
        handshake = Handshake(connection, self._config)
        handshake.peer_aware = hello.opcode in _AWARE
        return HelloReceived(handshake).answer(syn, now)

    def recognizes(self, segment: Segment) -> bool:
        """Only this protocol's segments carry CRYPT or MAC without SYN."""
        return segment.option(CRYPT) is not None or segment.option(MAC) is not None


_OPENINGS = (Opcode.HELLO, Opcode.HELLO_SUPPORT, Opcode.NEXTK1, Opcode.NEXTK1_SUPPORT)
_AWARE = (Opcode.HELLO_SUPPORT, Opcode.NEXTK1_SUPPORT)
