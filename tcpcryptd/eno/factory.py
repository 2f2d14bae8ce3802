"""TCP-ENO with tcpcrypt as the engine is given it."""

from tcpcryptd.core.protocol import ConnectionHandle, Stray, Verdict
from tcpcryptd.eno.config import EnoConfig
from tcpcryptd.eno.constants import ENO
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.active import SynSent
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.init_messages import looks_like_init1
from tcpcryptd.eno.handshake.passive import SynReceived
from tcpcryptd.eno.handshake.syn_data import discards_data
from tcpcryptd.wire.segment import Segment


class EnoFactory:
    """Begins the handshake of a new connection, in either role."""

    name = "eno"

    def __init__(self, config: EnoConfig) -> None:
        self._config = config

    def offer(self, connection: ConnectionHandle, syn: Segment, now: float) -> Verdict:
        """The local host opens a connection."""
        return SynSent(HandshakeContext(connection, self._config)).offer(syn, now)

    def answer(self, connection: ConnectionHandle, syn: Segment, now: float) -> Verdict | None:
        """A peer opens a connection; None when its SYN says nothing of TCP-ENO.

        What can be read as the CRYPT protocol's, too, is that protocol's, which is asked before where it is spoken:
        that is an empty option, 0x01 and 0x02, and ten bytes that begin with 0x84 or 0x85.
        """
        offered = option.read(syn.options)
        if offered is None:
            return None
        return SynReceived(HandshakeContext(connection, self._config), offered).answer(syn, now)

    def discards_data(self, syn: Segment) -> bool:
        """Data in a SYN with an ENO option (RFC 8547 section 4.7)."""
        return discards_data(syn.options)

    def recognizes(self, segment: Segment) -> Stray | None:
        """An option without SYN shows that the peer has enabled encryption; later segments look like any others.

        One with something in it, which counts as well (RFC 8547 section 4.1), can be the CRYPT protocol's.
        """
        value = segment.option(ENO)
        return Stray.RESET if value == b"" or (value is not None and looks_like_init1(segment.payload)) else None
