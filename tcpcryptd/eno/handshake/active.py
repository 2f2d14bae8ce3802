"""The active opener until a TEP is negotiated or the connection is left plain (RFC 8547 section 4.6)."""

from tcpcryptd.core.protocol import ACCEPT, DROP, SWALLOWED, UNSEEN_ANSWER, Direction, Support, Verdict, modify
from tcpcryptd.eno.constants import ENO
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.enabled import enable
from tcpcryptd.eno.handshake.negotiation import NotNegotiated, Reason, negotiate
from tcpcryptd.eno.handshake.offer import Offer, propose
from tcpcryptd.eno.handshake.resumption import name, take_to_open
from tcpcryptd.eno.handshake.session import SessionSecret
from tcpcryptd.eno.handshake.simultaneous import SynCrossed
from tcpcryptd.eno.handshake.state import State
from tcpcryptd.eno.limits import SYN_TRIES
from tcpcryptd.eno.syn import for_local_kernel, room_for_eno, with_eno
from tcpcryptd.wire import options, sequence
from tcpcryptd.wire.segment import RST, SYN, Segment
from tcpcryptd.wire.syn import SynParameters, refusal


class SynSent(State):
    """The local host's SYN offers TEPs, and a session to resume."""

    def __init__(self, context: HandshakeContext) -> None:
        super().__init__(context)
        self._tries = 0
        self._secret: SessionSecret | None = None
        self._offer: Offer
        self._disabled = False
        """A SYN has gone out without the option: whatever is answered, the connection stays plain (section 4.6)."""

    def offer(self, syn: Segment, now: float) -> Verdict:
        """The verdict on the first SYN."""
        self._ends.local = SynParameters.of(syn, self._connection.max_mss)
        self._connection.transition(self, self._outbound, self._inbound)
        reason = refusal(syn) or self._context.lacks
        if syn.option(ENO) is not None:
            # A host behind this one has put it there.
            reason = "the sender itself offers encryption"
        if reason is not None:
            return self._connection.decide_plain(reason)
        offer = self._propose(options.MAX_LENGTH - len(room_for_eno(syn)), now)
        if offer is None:
            return self._connection.decide_plain("the SYN has no space for the option")
        self._offer = offer
        return self._send(syn)

    def _propose(self, space: int, now: float) -> Offer | None:
        wanted = self._connection.options
        self._secret = take_to_open(self._context, now)
        offer = propose(
            self._context.codes,
            resumption=name(self._context, self._secret) if self._secret is not None else None,
            aware=wanted.support is not Support.UNAWARE,
            require_aware=wanted.support is Support.MANDATORY,
            passive_role=wanted.passive_role,
            space=space,
        )
        if offer is None or offer.resumption is None:
            self._secret = None
        self._context.best_is_offered = offer is not None and offer.has(self._context.codes[0])
        return offer

    def _send(self, syn: Segment) -> Verdict:
        self._tries += 1
        packet = with_eno(syn, self._offer.option.raw)
        if packet is not None and (self._tries <= SYN_TRIES or self._connection.must_encrypt):
            return modify(packet)
        # Perhaps a middlebox drops SYNs with unknown options.
        self._disabled = True
        return modify(syn.edited(payload=b"")) if syn.payload_length else ACCEPT

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            if segment.sequence != self._ends.local.isn:
                return self._connection.renew(segment, Direction.OUT, now)
            self._context.saw(segment, Direction.OUT, now)
            return self._send(segment)
        if segment.flags & SYN:
            return self._connection.decide_plain("both hosts opened the connection at once")
        if segment.flags & RST:
            return ACCEPT
        if segment.sequence == sequence.add(self._ends.local.isn, 1):
            # Or the SYN has waited in the queue while the kernel was answered one before it.
            return self._connection.decide_plain(UNSEEN_ANSWER)
        # Of an earlier connection, which may have been encrypted.
        return DROP

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if not segment.checksum_is_right or not segment.flags & (SYN | RST):
            return ACCEPT
        opening = segment.is_opening
        if not opening and segment.acknowledgment != sequence.add(self._ends.local.isn, 1):
            return DROP if self._ends.local.is_acknowledged_too_far(segment) else ACCEPT
        swallowed = self._disabled and not opening and segment.option(ENO) is None
        if swallowed:
            self._connection.offer_swallowed(now)
        if segment.flags & RST:
            return ACCEPT
        if self._disabled:
            late = "no SYN with an ENO option was answered in time"
            return self.leave_plain(segment, SWALLOWED if swallowed else late)
        return self._negotiated(segment, now)

    def _negotiated(self, segment: Segment, now: float) -> Verdict:
        """The verdict on the peer's SYN ACK, or on its SYN of a simultaneous open."""
        opening = segment.is_opening
        if not opening:
            self._connection.offer_answered()
        received = option.read(segment.options)
        negotiated = negotiate(self._offer, received)
        if received is None and not opening:
            self._connection.declined(now)
        if isinstance(negotiated, NotNegotiated) or received is None:
            refused = negotiated.reason if isinstance(negotiated, NotNegotiated) else Reason.NO_OPTION
            return self.leave_plain(segment, refused)
        reason = refusal(segment)
        if reason is not None:
            return self.leave_plain(segment, reason)
        self._ends.remote = SynParameters.of(segment)
        self._context.sack = segment.option(options.SACK_PERMITTED) is not None
        secret = self._secret if negotiated.resumed is not None else None
        if opening:
            SynCrossed(self._context, self._offer.option, received, negotiated, secret).take_over()
            return modify(for_local_kernel(segment, self._ends.local.mss))
        return enable(self._context, negotiated, secret, segment, now)
