"""A simultaneous open, in which exactly one host has asked for the passive role (RFC 8547 sections 4.2, 4.3, 4.6)."""

from typing import Final

from tcpcryptd.core.protocol import ACCEPT, DROP, Direction, Verdict, modify
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.enabled import enable
from tcpcryptd.eno.handshake.exchange import with_option
from tcpcryptd.eno.handshake.negotiation import Negotiated
from tcpcryptd.eno.handshake.option import SynOption
from tcpcryptd.eno.handshake.session import SessionSecret
from tcpcryptd.eno.handshake.state import State
from tcpcryptd.eno.syn import for_local_kernel, with_eno
from tcpcryptd.wire import sequence
from tcpcryptd.wire.segment import ACK, RST, SYN, Segment

_STRIPPED: Final = "the peer's segment has no ENO option"


class SynCrossed(State):
    """Both SYNs have offered TEPs, and one is negotiated; either kernel answers with a SYN ACK."""

    def __init__(
        self,
        context: HandshakeContext,
        sent: SynOption,
        received: SynOption,
        negotiated: Negotiated,
        secret: SessionSecret | None,
    ) -> None:
        """`sent`, `received`: of the SYNs; `secret`: of the session that is resumed."""
        super().__init__(context)
        self._sent = sent
        self._received = received
        self._negotiated = negotiated
        self._secret = secret

    def take_over(self) -> None:
        """Binds the handlers."""
        self._connection.transition(self, self._outbound, self._inbound)

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.flags & RST:
            return ACCEPT
        if not segment.flags & SYN:
            bare = self.first_ack(segment, now)
            if isinstance(bare, tuple):
                return bare
            carried = with_option(bare)
            return DROP if carried is None else modify(carried)
        if segment.sequence != self._ends.local.isn:
            if segment.is_opening:
                return self._connection.renew(segment, Direction.OUT, now)
            return self._connection.decide_plain("the local host has opened another connection")
        self._context.saw(segment, Direction.OUT, now)
        answer = with_eno(segment, self._sent.raw)
        if answer is None:
            return self._connection.decide_plain("the SYN ACK has no space for the option")
        return modify(answer)

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if not segment.checksum_is_right or segment.flags & RST:
            return ACCEPT
        is_syn, same = segment.flags & SYN, segment.sequence == self._ends.remote.isn
        if not segment.is_opening:
            acknowledged = segment.acknowledgment == sequence.add(self._ends.local.isn, 1)
            if not segment.flags & ACK or not acknowledged or (is_syn and not same):
                return DROP
        if is_syn and same:
            found = option.read(segment.options)
            # It must not be altered between SYN and SYN ACK.
            if found is None or found.raw != self._received.raw:
                return self.leave_plain(segment, _STRIPPED)
        if segment.is_opening:
            return modify(for_local_kernel(segment, self._ends.local.mss))
        if not option.is_present(segment.options):
            if self.may_be_init1(segment):
                # It lost its option on the way; no application may see it.
                self._connection.count("stray")
                return DROP
            return self._connection.decide_plain(_STRIPPED)
        self._context.saw(segment, Direction.IN, now)
        return enable(self._context, self._negotiated, self._secret, segment, now, at_once=True)
