"""What the states of a handshake have in common."""

from collections.abc import Callable, Sequence

from tcpcryptd.core.handshake import KeylessState
from tcpcryptd.core.protocol import DROP, Verdict, modify
from tcpcryptd.crypt import option
from tcpcryptd.crypt.handshake.context import HandshakeContext
from tcpcryptd.crypt.handshake.retransmission import Retransmission
from tcpcryptd.crypt.limits import RETRANSMISSION_INTERVALS
from tcpcryptd.crypt.syn import for_local_kernel
from tcpcryptd.wire.segment import Segment
from tcpcryptd.wire.sequence import add, difference


class HandshakeState(KeylessState):
    """Sends messages of its own again."""

    def __init__(self, context: HandshakeContext) -> None:
        super().__init__(context)
        self._context = context
        self._sent: Retransmission | None = None
        self._intervals: Sequence[float] = RETRANSMISSION_INTERVALS

    def _carried(
        self,
        segment: Segment,
        suboption: option.Suboption,
        give_up: Callable[[float], None],
        now: float,
        payload: bytes = b"",
    ) -> Verdict:
        """The kernel's ACK with a suboption and a message of ours, which is sent again until it is answered."""
        area = option.append(segment.option_area, suboption)
        if area is None:
            return self._connection.decide_plain("the ACK has no space for the option")
        packet = segment.edited(option_area=area, payload=payload)
        if self._sent is None:
            self._sent = Retransmission(self._connection, packet, self._intervals, give_up)
            self._sent.start(now)
        return modify(packet)

    def _repeated_syn(self, syn: Segment) -> Verdict:
        """The peer's SYN again, or one with another sequence number, perhaps forged: the kernel decides."""
        if not self.is_for_the_kernel(syn):
            return DROP
        return modify(for_local_kernel(syn, self._connection.max_mss, keeps_sack=self._context.keeps_sack))

    def _ahead(self, number: int) -> int:
        """How far a number of ours lies behind the SYN."""
        return difference(number, add(self._context.local.isn, 1))

    def _is_first(self, segment: Segment) -> bool:
        """Whether a segment of the peer's begins where its SYN ends."""
        return segment.sequence == add(self._context.remote.isn, 1)
