"""The passive opener until a TEP is negotiated or the connection is left plain (RFC 8547 section 4.6)."""

from tcpcryptd.core.protocol import ACCEPT, DROP, Direction, Injection, Support, Verdict, modify
from tcpcryptd.eno.channel import Channel
from tcpcryptd.eno.constants import ENO
from tcpcryptd.eno.exchange import AwaitInit1, looks_like_init1
from tcpcryptd.eno.handshake import Handshake
from tcpcryptd.eno.limits import SYN_TRIES
from tcpcryptd.eno.negotiation import Negotiated, NotNegotiated, choose, negotiate
from tcpcryptd.eno.offer import Offer, Resumption
from tcpcryptd.eno.option import SynOption
from tcpcryptd.eno.resumption import name, take_to_answer
from tcpcryptd.eno.session import SessionSecret
from tcpcryptd.eno.state import State
from tcpcryptd.eno.syn import for_local_kernel, room_for_eno
from tcpcryptd.wire import options, sequence
from tcpcryptd.wire.segment import ACK, RST, SYN, Segment
from tcpcryptd.wire.syn import End, refusal


class SynReceived(State):
    """A peer's SYN offers TEPs; the kernel has not answered yet."""

    def __init__(self, handshake: Handshake, offered: SynOption) -> None:
        super().__init__(handshake)
        self._offered = offered
        self._secret: SessionSecret | None = None

    def answer(self, syn: Segment, now: float) -> Verdict:
        """The verdict on the SYN. Data in it never gets to the kernel (section 4.7)."""
        self._ends.remote = End.of(syn)
        self._handshake.sack = syn.option(options.SACK_PERMITTED) is not None
        reason = refusal(syn)
        if reason is not None:
            verdict = self._connection.decide_plain(reason)
            return modify(syn.edited(payload=b""), verdict[2]) if verdict is not DROP else DROP
        self._connection.become(self, self._outbound, self._inbound)
        return modify(for_local_kernel(syn))

    def resets(self) -> list[Injection]:
        """The kernel has not answered: nothing to reset."""
        return []

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            return self.repeated_syn(segment)
        return ACCEPT if segment.flags & (SYN | RST) else DROP

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            return self._connection.renew(segment, Direction.OUT, now)
        if segment.flags & RST:
            return ACCEPT
        if not segment.flags & SYN:
            # The kernel has a connection already, and the SYN was forged or late.
            return self._connection.decide_plain("the connection is older than the SYN")
        verdict = self.answers_other_syn(segment, now)
        if verdict is not None:
            return verdict
        self._ends.local = End.of(segment)
        if segment.option(options.SACK_PERMITTED) is None:
            self._handshake.sack = False
        offer = self._choose(options.MAX_LENGTH - len(room_for_eno(segment)), now)
        if isinstance(offer, NotNegotiated):
            return self._connection.decide_plain(offer.reason)
        negotiated = negotiate(offer, self._offered)
        if isinstance(negotiated, NotNegotiated):
            return self._connection.decide_plain(negotiated.reason)
        state = SynAckSent(self._handshake, offer.option, negotiated, self._secret)
        state.take_over()
        return state.outbound(packet, offset, now)

    def _choose(self, space: int, now: float) -> Offer | NotNegotiated:
        wishes = self._connection.options

        def find_session(tep: int, half: bytes) -> Resumption | None:
            self._secret = take_to_answer(self._handshake, tep, half, now)
            return name(self._handshake, self._secret) if self._secret is not None else None

        return choose(
            self._offered,
            self._handshake.teps,
            find_session,
            aware=wishes.support is not Support.UNAWARE,
            require_aware=wishes.support is Support.MANDATORY,
            space=space,
        )


class SynAckSent(State):
    """The SYN ACK carries the TEP; the peer's first ACK shows whether it got it."""

    def __init__(
        self, handshake: Handshake, answer: SynOption, negotiated: Negotiated, secret: SessionSecret | None
    ) -> None:
        super().__init__(handshake)
        self._answer = answer
        self._negotiated = negotiated
        self._secret = secret
        self._tries = 0

    def take_over(self) -> None:
        """Binds the handlers."""
        self._connection.become(self, self.outbound, self._inbound)

    def outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """The SYN ACK, and its retransmissions."""
        segment = Segment(packet, offset)
        if segment.is_opening:
            return self._connection.renew(segment, Direction.OUT, now)
        verdict = self.answers_other_syn(segment, now)
        if verdict is not None:
            return verdict
        if segment.flags & (SYN | ACK) != SYN | ACK or segment.sequence != self._ends.local.isn:
            return DROP if segment.payload_length else ACCEPT
        self._handshake.saw(segment, Direction.OUT, now)
        self._tries += 1
        if self._tries > SYN_TRIES:
            return ACCEPT
        return modify(segment.edited(option_area=options.pad(room_for_eno(segment) + self._answer.raw)))

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.flags & RST or not segment.checksum_is_right:
            return ACCEPT
        if segment.is_opening:
            return self.repeated_syn(segment)
        if segment.flags & SYN or not segment.flags & ACK:
            return DROP
        if segment.acknowledgment != sequence.add(self._ends.local.isn, 1):
            return DROP
        if segment.option(ENO) is None:
            if looks_like_init1(segment.payload):
                # It lost its option on the way; no application may see it.
                self._connection.count("stray")
                return DROP
            return self._connection.decide_plain("the peer's first ACK has no ENO option")
        self._handshake.saw(segment, Direction.IN, now)
        if self._negotiated.resumed is not None and self._secret is not None:
            channel = Channel.open(self._handshake, self._secret, self._negotiated, now)
            return channel.inbound(packet, offset, now)
        state = AwaitInit1(self._handshake, self._negotiated)
        state.take_over()
        return state.inbound(packet, offset, now)
