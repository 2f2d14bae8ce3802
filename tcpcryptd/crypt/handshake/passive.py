"""The passive opener until it has keys or leaves the connection plain (docs/crypt-option.md sections 2, 7 and 8)."""

from typing import Final

from tcpcryptd.core.protocol import ACCEPT, DROP, UNSEEN_ANSWER, Direction, Injection, Support, Verdict, modify
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import CRYPT, MAC, Opcode
from tcpcryptd.crypt.handshake.client_exchange import ClientExchange
from tcpcryptd.crypt.handshake.context import HandshakeContext
from tcpcryptd.crypt.handshake.resumption import take_to_answer
from tcpcryptd.crypt.handshake.server_exchange import ServerExchange, looks_like_init1
from tcpcryptd.crypt.handshake.state import HandshakeState
from tcpcryptd.crypt.handshake.unconfirmed import Unconfirmed
from tcpcryptd.crypt.limits import HELLO_TRIES
from tcpcryptd.crypt.protection.session import Resumable, Session
from tcpcryptd.crypt.roles import switches
from tcpcryptd.crypt.syn import for_local_kernel
from tcpcryptd.wire.segment import ACK, FIN, RST, SYN, Segment
from tcpcryptd.wire.sequence import add
from tcpcryptd.wire.syn import SynParameters, refusal

OPENINGS: Final = (Opcode.HELLO, Opcode.HELLO_SUPPORT, Opcode.NEXTK1, Opcode.NEXTK1_SUPPORT)
"""Suboptions that a SYN of this protocol can carry."""


class HelloReceived(HandshakeState):
    """A peer's SYN offers encryption; the kernel has not answered yet."""

    def __init__(self, context: HandshakeContext, hello: option.Suboption) -> None:
        super().__init__(context)
        self._hello = hello
        context.peer_aware = hello.opcode in (Opcode.HELLO_SUPPORT, Opcode.NEXTK1_SUPPORT)

    def answer(self, syn: Segment, now: float) -> Verdict:
        """The verdict on the SYN."""
        self._context.remote = SynParameters.of(syn)
        self._context.transcript = option.as_sent(syn)
        reason = refusal(syn)
        if reason is None and self._connection.options.support is Support.MANDATORY and not self._context.peer_aware:
            reason = "the peer's application is not aware of tcpcrypt"
        if reason is not None:
            return self._connection.decide_plain(reason)
        self._connection.transition(self, self._outbound, self._inbound)
        return modify(for_local_kernel(syn, self._connection.max_mss, keeps_sack=self._context.keeps_sack))

    def resets(self) -> list[Injection]:
        """The kernel has not answered: nothing to reset."""
        return []

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            return self._repeated_syn(segment)
        if (
            segment.option(CRYPT) is None
            and segment.option(MAC) is None
            and self._context.remote.is_answered(segment)
            and now > self._connection.origin.started
        ):
            # Not what came together with the SYN, before the kernel could answer that: anybody on the way can send it.
            # Here the answer has another port or address, which is translated behind us.
            return self._connection.decide_plain(UNSEEN_ANSWER)
        return ACCEPT if segment.flags & (SYN | RST) else DROP

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            return self._connection.renew(segment, Direction.OUT, now)
        if segment.flags & RST:
            return ACCEPT
        if not segment.flags & SYN:
            # Else the kernel has a connection already, and the SYN was forged or late.
            unseen = segment.acknowledgment == add(self._context.remote.isn, 1)
            return self._connection.decide_plain(UNSEEN_ANSWER if unseen else "the connection is older than the SYN")
        verdict = self.answers_other_syn(segment, now)
        if verdict is not None:
            return verdict
        self._context.local = SynParameters.of(segment, self._connection.max_mss)
        state = self._choose(segment, now)
        area = state.area(segment)
        if area is None:
            return self._connection.decide_plain("the SYN ACK has no space for the option")
        state.take_over()
        return state.send(segment, area, now)

    def _choose(self, syn_ack: Segment, now: float) -> "_SynAckSent":
        if self._hello.opcode in (Opcode.NEXTK1, Opcode.NEXTK1_SUPPORT):
            resumable = take_to_answer(self._context, self._hello.body, now)
            if resumable is not None:
                return Nextk2Sent(self._context, resumable)
        if switches(self._connection.options.client_mode):
            return AwaitPkconf(self._context)
        return AwaitInit1(self._context, ServerExchange(self._context, self._context.kept_options(syn_ack)))


class _SynAckSent(HandshakeState):
    """The SYN ACK carries a suboption; the peer's next segment shows whether it got it."""

    def __init__(self, context: HandshakeContext, suboption: option.Suboption) -> None:
        super().__init__(context)
        context.transcript += option.encode(suboption)
        self._suboption = suboption
        self._tries = 0
        self._plain = False
        """An ACK has come that only a peer without the protocol sends: the kernel may send data."""
        self._sent_plain = 0
        """How much sequence space the kernel has used after its SYN: no peer acknowledges more."""

    def area(self, syn_ack: Segment) -> bytes | None:
        """The SYN ACK's option area with the suboption; None when there is no space for it."""
        return option.append(self._context.kept_options(syn_ack), self._suboption)

    def take_over(self) -> None:
        """Binds the handlers."""
        self._connection.transition(self, self.outbound, self._inbound)

    def outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """The kernel's retransmissions of the SYN ACK, and what it sends without having had an answer."""
        segment = Segment(packet, offset)
        verdict = self.begins_another(segment, now)
        if verdict is not None:
            return verdict
        if segment.flags & (SYN | ACK) != SYN | ACK:
            if segment.payload_length and not self._plain:
                return DROP
            if 0 <= self._ahead(segment.sequence) <= self._sent_plain:
                self._sent_plain = max(self._sent_plain, self._ahead(segment.end))
            return ACCEPT
        if segment.sequence != self._context.local.isn:
            return self._connection.decide_plain("the local host has opened another connection")
        area = self.area(segment)
        is_enough = self._tries >= HELLO_TRIES and not self._connection.must_encrypt
        return ACCEPT if area is None or is_enough else self.send(segment, area, now)

    def send(self, syn_ack: Segment, area: bytes, now: float) -> Verdict:
        """The verdict on a SYN ACK that gets another option area."""
        self._context.saw(syn_ack, Direction.OUT, now)
        self._tries += 1
        return modify(syn_ack.edited(option_area=area))

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.flags & RST or not segment.checksum_is_right:
            return ACCEPT
        if segment.is_opening:
            return self._repeated_syn(segment)
        ahead = self._ahead(segment.acknowledgment)
        if segment.flags & SYN or not 0 <= ahead <= self._sent_plain:
            # Of somebody who has not seen our SYN ACK.
            return DROP
        verdict = self._answered(segment, now) if not ahead and not self._plain else None
        if verdict is not None:
            return verdict
        if segment.option(CRYPT) is not None or segment.option(MAC) is not None or looks_like_init1(segment.payload):
            # It overtook what we need first, lost its option, or follows an ACK that somebody else sent.
            self._connection.count("stray")
            return DROP
        bare = not segment.payload_length and not segment.flags & FIN
        if bare and not self._plain and not ahead and not self._connection.must_encrypt:
            # Anybody on the way can send an ACK; what the peer itself goes on with is still to come.
            self._plain = True
            return ACCEPT
        return self._connection.decide_plain("the peer did not go on with the handshake")

    def _answered(self, segment: Segment, now: float) -> Verdict | None:
        """The verdict on the peer's answer, None when it is none."""
        raise NotImplementedError


class AwaitInit1(_SynAckSent):
    """The SYN ACK carries PKCONF: this host is the server of the exchange."""

    def __init__(self, context: HandshakeContext, exchange: ServerExchange) -> None:
        super().__init__(context, exchange.pkconf)
        self._exchange = exchange

    def _answered(self, segment: Segment, now: float) -> Verdict | None:
        if option.find(option.read(segment), Opcode.INIT1) is None or not self._is_first(segment):
            return None
        return self._exchange.receive(segment, now)


class AwaitPkconf(_SynAckSent):
    """The SYN ACK carries HELLO: this host wants to be the client of the exchange (docs/crypt-option.md section 7)."""

    def __init__(self, context: HandshakeContext) -> None:
        aware = context.connection.options.support
        super().__init__(context, option.Suboption(Opcode.HELLO_SUPPORT if aware else Opcode.HELLO))

    def _answered(self, segment: Segment, now: float) -> Verdict | None:
        pkconf = option.find(option.read(segment), Opcode.PKCONF, Opcode.PKCONF_SUPPORT)
        if pkconf is None or segment.payload_length or not self._is_first(segment):
            return None
        syns = self._context.transcript
        self._context.transcript += option.as_sent(segment)
        exchange = ClientExchange.choose(self._context, pkconf)
        if isinstance(exchange, str):
            self._context.transcript = syns
            # Without INIT1 the peer falls back.
            return None
        self._context.saw(segment, Direction.IN, now)
        exchange.take_over()
        exchange.send(now)
        return modify(segment.edited(window=0))


class Nextk2Sent(_SynAckSent):
    """The SYN ACK carries NEXTK2: both ends have keys once the peer has got it. Plain TCP is still possible."""

    def __init__(self, context: HandshakeContext, resumable: Resumable) -> None:
        aware = context.connection.options.support
        super().__init__(context, option.Suboption(Opcode.NEXTK2_SUPPORT if aware else Opcode.NEXTK2))
        self._resumable = resumable
        self._unconfirmed: Unconfirmed | None = None

    def take_over(self) -> None:
        """Binds the handlers. The keys are made when the SYN ACK has gone out."""
        super().take_over()
        self._connection.afterwards(self._make_keys)

    def _make_keys(self) -> None:
        self._keys_made()

    def _keys_made(self) -> Unconfirmed:
        if self._unconfirmed is None:
            session, following = Session.begin(self._resumable, resumed=True)
            self._unconfirmed = Unconfirmed(self._context, session, following)
        return self._unconfirmed

    def _answered(self, segment: Segment, now: float) -> Verdict | None:
        if segment.option(MAC) is None:
            return None
        return self._keys_made().inbound(segment.packet, segment.offset, now)
