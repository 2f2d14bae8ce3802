"""The active opener until a TEP is negotiated or the connection is left plain (RFC 8547 section 4.6)."""

from tcpcryptd.core.protocol import ACCEPT, Direction, Support, Verdict, modify
from tcpcryptd.eno import option
from tcpcryptd.eno.channel import Channel
from tcpcryptd.eno.exchange import InitSent
from tcpcryptd.eno.handshake import Handshake
from tcpcryptd.eno.limits import SYN_TRIES
from tcpcryptd.eno.negotiation import Negotiated, NotNegotiated, Reason, negotiate
from tcpcryptd.eno.offer import Offer, propose
from tcpcryptd.eno.resumption import name, take_to_open
from tcpcryptd.eno.session import SessionSecret
from tcpcryptd.eno.state import State
from tcpcryptd.eno.syn import for_local_kernel, room_for_eno
from tcpcryptd.wire import options, sequence
from tcpcryptd.wire.segment import RST, SYN, Segment
from tcpcryptd.wire.syn import End, refusal


class SynSent(State):
    """The local host's SYN offers TEPs, and a session to resume."""

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._tries = 0
        self._secret: SessionSecret | None = None
        self._offer: Offer

    def offer(self, syn: Segment, now: float) -> Verdict:
        """The verdict on the first SYN."""
        self._ends.local = End.of(syn)
        self._connection.become(self, self._outbound, self._inbound)
        reason = refusal(syn)
        if reason is not None:
            return self._connection.decide_plain(reason)
        offer = self._propose(options.MAX_LENGTH - len(room_for_eno(syn)), now)
        if offer is None:
            return self._connection.decide_plain("the SYN has no space for the option")
        self._offer = offer
        return self._send(syn)

    def _propose(self, space: int, now: float) -> Offer | None:
        wishes = self._connection.options
        self._secret = take_to_open(self._handshake, now)
        offer = propose(
            self._handshake.teps,
            resumption=name(self._handshake, self._secret) if self._secret is not None else None,
            aware=wishes.support is not Support.UNAWARE,
            require_aware=wishes.support is Support.MANDATORY,
            space=space,
        )
        if offer is None or offer.resumption is None:
            self._secret = None
        return offer

    def _send(self, syn: Segment) -> Verdict:
        self._tries += 1
        if self._tries > SYN_TRIES and not self._connection.must_encrypt:
            # Perhaps a middlebox drops SYNs with unknown options (section 4.6).
            return ACCEPT
        area = options.pad(room_for_eno(syn) + self._offer.option.raw)
        return modify(syn.edited(option_area=area, payload=b""))

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            if segment.sequence != self._ends.local.isn:
                return self._connection.renew(segment, Direction.OUT, now)
            self._handshake.saw(segment, Direction.OUT, now)
            return self._send(segment)
        if segment.flags & SYN:
            return self._connection.decide_plain("both hosts opened the connection at once")
        return ACCEPT

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if not segment.checksum_is_right:
            return ACCEPT
        if segment.is_opening:
            return self._connection.decide_plain("both hosts opened the connection at once")
        if not segment.flags & SYN or segment.flags & RST:
            return ACCEPT
        if segment.acknowledgment != sequence.add(self._ends.local.isn, 1):
            return ACCEPT
        self._ends.remote = End.of(segment)
        negotiated = negotiate(self._offer, option.read(segment.options))
        if isinstance(negotiated, NotNegotiated):
            if negotiated.reason is Reason.NO_OPTION:
                self._connection.declined(now)
            return self._connection.decide_plain(negotiated.reason)
        self._handshake.sack = segment.option(options.SACK_PERMITTED) is not None
        return self._go_on(segment, negotiated, now)

    def _go_on(self, syn_ack: Segment, negotiated: Negotiated, now: float) -> Verdict:
        if negotiated.resumed is None or self._secret is None:
            InitSent(self._handshake, negotiated).take_over()
            return modify(for_local_kernel(syn_ack, self._ends.local.mss), self._connection.connection_class)
        Channel.open(self._handshake, self._secret, negotiated, now)
        opened = for_local_kernel(syn_ack, self._ends.local.mss, window=syn_ack.window)
        return modify(opened, self._connection.connection_class)
