"""TCP-ENO with tcpcrypt as the engine is given it."""

from tcpcryptd.core.protocol import Connection, Stray, Verdict
from tcpcryptd.eno import option
from tcpcryptd.eno.active import SynSent
from tcpcryptd.eno.config import EnoConfig
from tcpcryptd.eno.constants import ENO
from tcpcryptd.eno.exchange import looks_like_init1
from tcpcryptd.eno.handshake import Handshake
from tcpcryptd.eno.passive import SynReceived
from tcpcryptd.wire.segment import Segment


class EnoFactory:
    """Begins the handshake of a new connection, in either role."""

    name = "eno"

    def __init__(self, config: EnoConfig) -> None:
        self._config = config

    def offer(self, connection: Connection, syn: Segment, now: float) -> Verdict:
        """The local host opens a connection."""
        return SynSent(Handshake(connection, self._config)).offer(syn, now)

    def answer(self, connection: Connection, syn: Segment, now: float) -> Verdict | None:
        """A peer opens a connection; None when its SYN says nothing of TCP-ENO."""
        value = syn.option(ENO)
        offered = option.read(syn.options)
        if value is None or offered is None or not option.is_eno(value):
            return None
        return SynReceived(Handshake(connection, self._config), offered).answer(syn, now)

    def recognizes(self, segment: Segment) -> Stray | None:
        """Init1 shows that the peer has enabled encryption; later segments look like any others."""
        return Stray.RESET if segment.option(ENO) is not None and looks_like_init1(segment.payload) else None
