"""The passive opener until a TEP is negotiated or the connection is left plain (RFC 8547 section 4.6)."""

from typing import Final

from tcpcryptd.core.protocol import ACCEPT, DROP, UNSEEN_ANSWER, Direction, Injection, Support, Verdict, modify
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.exchange import AwaitInit1
from tcpcryptd.eno.handshake.negotiation import Negotiated, NotNegotiated, Reason, choose, negotiate
from tcpcryptd.eno.handshake.offer import Offer, Resumption, global_suboption
from tcpcryptd.eno.handshake.opened import open_channel
from tcpcryptd.eno.handshake.option import SynOption
from tcpcryptd.eno.handshake.resumption import name, take_to_answer
from tcpcryptd.eno.handshake.session import SessionSecret
from tcpcryptd.eno.handshake.state import State
from tcpcryptd.eno.syn import for_local_kernel, room_for_eno, with_eno
from tcpcryptd.wire import options, sequence
from tcpcryptd.wire.fast_open import without_fast_open
from tcpcryptd.wire.segment import ACK, RST, SYN, Segment
from tcpcryptd.wire.syn import SynParameters, refusal

VACUOUS: Final = option.build(global_suboption(passive_role=True, aware=False), (), ordered=True)
"""What answers a vacuous option, and says that TCP-ENO is known here (RFC 8547 section 4.6)."""


class _Passive(State):
    """Before the peer's first ACK."""

    def _repeated(self, syn: Segment) -> Verdict:
        """The peer's SYN again. It leaves the option out when it has disabled ENO, as it may (section 4.6)."""
        if syn.sequence == self._ends.remote.isn and syn.checksum_is_right and option.read(syn.options) is None:
            return self.leave_plain(syn, "the peer's repeated SYN has no ENO option")
        return self.repeated_syn(syn)


class SynReceived(_Passive):
    """A peer's SYN offers TEPs; the kernel has not answered yet."""

    def __init__(self, context: HandshakeContext, offered: SynOption) -> None:
        super().__init__(context)
        self._offered = offered
        self._secret: SessionSecret | None = None
        self._syn: Segment | None = None
        """The peer's, until the kernel refuses it."""

    def answer(self, syn: Segment, now: float) -> Verdict:
        """The verdict on the SYN. Data in it never gets to the kernel (section 4.7)."""
        self._ends.remote = SynParameters.of(syn)
        self._context.sack = syn.option(options.SACK_PERMITTED) is not None
        reason = refusal(syn) or self._context.lacks
        if reason is not None:
            return self.leave_plain(syn, reason)
        self._connection.transition(self, self._outbound, self._inbound)
        self._syn = syn
        if self._offered.is_vacuous:
            return modify(syn.edited(option_area=options.pad(without_fast_open(syn)), payload=b""))
        return modify(for_local_kernel(syn, self._connection.max_mss))

    def resets(self) -> list[Injection]:
        """The kernel has not answered: nothing to reset."""
        return []

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            return self._repeated(segment)
        is_answer = option.read(segment.options) is None and self._ends.remote.is_answered(segment)
        if is_answer and now > self._connection.origin.started:
            # Not what came together with the SYN, before the kernel could answer that: anybody on the way can send it.
            # Here the answer has another port or address, which is translated behind us.
            return self._connection.decide_plain(UNSEEN_ANSWER)
        return ACCEPT if segment.flags & (SYN | RST) else DROP

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            if self._syn is not None:
                return self._connection.cross(self._syn, segment, now)
            return self._connection.renew(segment, Direction.OUT, now)
        if segment.flags & RST:
            self._syn = None
            return ACCEPT
        if not segment.flags & SYN:
            # Else the kernel has a connection already, and the SYN was forged or late.
            unseen = segment.acknowledgment == sequence.add(self._ends.remote.isn, 1)
            return self._connection.decide_plain(UNSEEN_ANSWER if unseen else "the connection is older than the SYN")
        verdict = self.answers_other_syn(segment, now)
        if verdict is not None:
            return verdict
        self._ends.local = SynParameters.of(segment, self._connection.max_mss)
        if segment.option(options.SACK_PERMITTED) is None:
            self._context.sack = False
        state = self._answer(segment, now)
        if isinstance(state, NotNegotiated):
            return self._connection.decide_plain(state.reason)
        state.take_over()
        return state.outbound(packet, offset, now)

    def _answer(self, syn_ack: Segment, now: float) -> "SynAckSent | NotNegotiated":
        offer = self._choose(options.MAX_LENGTH - len(room_for_eno(syn_ack)), now)
        if self._offered.is_vacuous:
            return SynAckSent(self._context, VACUOUS, None, None)
        if isinstance(offer, NotNegotiated):
            return offer
        negotiated = negotiate(offer, self._offered)
        if isinstance(negotiated, NotNegotiated):
            return negotiated
        return SynAckSent(self._context, offer.option, negotiated, self._secret)

    def _choose(self, space: int, now: float) -> Offer | NotNegotiated:
        wanted = self._connection.options

        def find_session(code: int, half: bytes) -> Resumption | None:
            self._secret = take_to_answer(self._context, code, half, now)
            return name(self._context, self._secret) if self._secret is not None else None

        return choose(
            self._offered,
            self._context.codes,
            find_session,
            aware=wanted.support is not Support.UNAWARE,
            require_aware=wanted.support is Support.MANDATORY,
            space=space,
        )


class SynAckSent(_Passive):
    """The SYN ACK carries the TEP; the peer's first ACK shows whether it got it."""

    def __init__(
        self, context: HandshakeContext, answer: SynOption, negotiated: Negotiated | None, secret: SessionSecret | None
    ) -> None:
        """`negotiated`: None when the answer is vacuous; the connection is plain with the first ACK."""
        super().__init__(context)
        self._answer = answer
        self._negotiated = negotiated
        self._secret = secret

    def take_over(self) -> None:
        """Binds the handlers."""
        self._connection.transition(self, self.outbound, self._inbound)

    def outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """The SYN ACK, and its retransmissions."""
        segment = Segment(packet, offset)
        verdict = self.begins_another(segment, now)
        if verdict is not None:
            return verdict
        if segment.flags & (SYN | ACK) != SYN | ACK or segment.sequence != self._ends.local.isn:
            return DROP if segment.payload_length else ACCEPT
        self._context.saw(segment, Direction.OUT, now)
        answer = with_eno(segment, self._answer.raw)
        if answer is None:
            return self._connection.decide_plain("the SYN ACK has no space for the option")
        return modify(answer)

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.flags & RST or not segment.checksum_is_right:
            return ACCEPT
        if segment.is_opening:
            return self._repeated(segment)
        if segment.flags & SYN or not segment.flags & ACK:
            return DROP
        if segment.acknowledgment != sequence.add(self._ends.local.isn, 1):
            return DROP
        if self._negotiated is None:
            return self._connection.decide_plain(Reason.VACUOUS)
        if not option.is_present(segment.options):
            if self.may_be_init1(segment):
                # It lost its option on the way; no application may see it.
                self._connection.count("stray")
                return DROP
            return self._connection.decide_plain("the peer's first ACK has no ENO option")
        self._context.saw(segment, Direction.IN, now)
        if self._negotiated.resumed is not None and self._secret is not None:
            channel = open_channel(self._context, self._secret, self._negotiated, now)
            return channel.inbound(packet, offset, now)
        state = AwaitInit1(self._context, self._negotiated, heard=True)
        state.take_over(now)
        return state.inbound(packet, offset, now)
