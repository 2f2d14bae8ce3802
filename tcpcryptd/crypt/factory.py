"""The CRYPT protocol as the engine is given it."""

from tcpcryptd.core.protocol import ConnectionHandle, Stray, Verdict
from tcpcryptd.crypt import option
from tcpcryptd.crypt.config import CryptConfig
from tcpcryptd.crypt.constants import CRYPT, MAC
from tcpcryptd.crypt.handshake.active import HelloSent
from tcpcryptd.crypt.handshake.context import HandshakeContext
from tcpcryptd.crypt.handshake.passive import OPENINGS, HelloReceived
from tcpcryptd.wire.segment import Segment


class CryptFactory:
    """Begins the handshake of a new connection, in either role."""

    name = "crypt"

    def __init__(self, config: CryptConfig) -> None:
        self._config = config

    def offer(self, connection: ConnectionHandle, syn: Segment, now: float) -> Verdict:
        """The local host opens a connection."""
        return HelloSent(HandshakeContext(connection, self._config)).offer(syn, now)

    def answer(self, connection: ConnectionHandle, syn: Segment, now: float) -> Verdict | None:
        """A peer opens a connection; None if its SYN does not use this protocol (docs/crypt-option.md section 2)."""
        hello = option.find(option.read(syn), *OPENINGS)
        if hello is None or not option.opens(syn.option(CRYPT)):
            return None
        return HelloReceived(HandshakeContext(connection, self._config), hello).answer(syn, now)

    def discards_data(self, syn: Segment) -> bool:
        """SYNs of this protocol carry no data; the sender's kernel sends it again."""
        return option.find(option.read(syn), *OPENINGS) is not None

    def recognizes(self, segment: Segment) -> Stray | None:
        """Only this protocol's segments carry MAC, or CRYPT with something in it, without SYN."""
        if segment.option(MAC) is not None:
            return Stray.RESET
        return Stray.DROP if segment.option(CRYPT) else None
