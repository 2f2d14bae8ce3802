"""What the states of a handshake have in common."""

from collections.abc import Callable, Sequence

from tcpcryptd.core.protocol import (
    ACCEPT,
    DROP,
    Direction,
    Injection,
    ProtocolState,
    Verdict,
    modify,
)
from tcpcryptd.crypt import option
from tcpcryptd.crypt.handshake.context import HandshakeContext
from tcpcryptd.crypt.handshake.retransmission import Retransmission
from tcpcryptd.crypt.limits import MAX_HELD, RETRANSMISSION_INTERVALS
from tcpcryptd.crypt.syn import for_local_kernel
from tcpcryptd.wire.segment import FIN, PSH, RST, SYN, Segment
from tcpcryptd.wire.sequence import add, difference
from tcpcryptd.wire.syn import refusal


class HandshakeState(ProtocolState):
    """A state without keys: nothing is agreed, and neither kernel has sent data."""

    def __init__(self, context: HandshakeContext) -> None:
        self._context = context
        self._connection = context.connection
        self._other_syn: Segment | None = None
        self._sent: Retransmission | None = None
        self._intervals: Sequence[float] = RETRANSMISSION_INTERVALS

    def resets(self) -> list[Injection]:
        """For what the two kernels have sent so far: their SYNs."""
        return self._context.resets()

    def first_ack(self, segment: Segment, now: float) -> Segment | Verdict:
        """The local kernel's ACK of the SYN ACK, which can carry our option; or the verdict on what else it sends.

        A kernel whose SYN had data sends that in the place of the ACK, also into a closed window (RFC 7413 section 3):
        it is cut off here and waits for the keys.
        """
        if segment.flags & RST:
            return ACCEPT
        if segment.is_opening and segment.sequence != self._context.local.isn:
            return self._connection.renew(segment, Direction.OUT, now)
        first = add(self._context.local.isn, 1)
        if segment.flags & SYN or segment.sequence != first:
            # The window is closed; what comes all the same is sent again by the kernel.
            self._connection.count("held_back")
            return DROP
        self._context.saw(segment, Direction.OUT, now)
        if not segment.payload_length and not segment.flags & FIN:
            return segment
        self._connection.count("held_back")
        self._context.held = segment.packet if len(segment.packet) <= MAX_HELD else None
        return Segment(segment.edited(flags=segment.flags & ~(FIN | PSH), payload=b""), segment.offset)

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
        if not syn.checksum_is_right or refusal(syn) is not None:
            return DROP
        if syn.sequence != self._context.remote.isn:
            self._other_syn = syn
        return modify(for_local_kernel(syn, self._connection.max_mss, keeps_sack=self._context.keeps_sack))

    def _answers_other_syn(self, syn_ack: Segment, now: float) -> Verdict | None:
        """The verdict on the kernel's SYN ACK for that SYN: a new connection; None: it is for the first one."""
        if self._other_syn is None or not syn_ack.answers(self._other_syn):
            return None
        return self._connection.reopen(self._other_syn, syn_ack, now)

    def _ahead(self, number: int) -> int:
        """How far a number of ours lies behind the SYN."""
        return difference(number, add(self._context.local.isn, 1))

    def _is_first(self, segment: Segment) -> bool:
        """Whether a segment of the peer's begins where its SYN ends."""
        return segment.sequence == add(self._context.remote.isn, 1)
