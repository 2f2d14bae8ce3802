"""The active opener until it has keys or leaves the connection plain (docs/crypt-option.md sections 2, 7 and 8)."""

from typing import Final

from tcpcryptd.core.handshake import KeysDue
from tcpcryptd.core.protocol import (
    ACCEPT,
    DROP,
    SWALLOWED,
    UNSEEN_ANSWER,
    ConnectionClass,
    Direction,
    Support,
    Verdict,
    modify,
)
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import CRYPT, SESSION_PREFIX_SIZE, Opcode
from tcpcryptd.crypt.handshake.client_exchange import ClientExchange
from tcpcryptd.crypt.handshake.context import HandshakeContext
from tcpcryptd.crypt.handshake.resumption import take_to_open
from tcpcryptd.crypt.handshake.server_exchange import ServerExchange
from tcpcryptd.crypt.handshake.state import HandshakeState
from tcpcryptd.crypt.handshake.unanswered import Unanswered
from tcpcryptd.crypt.handshake.unconfirmed import Unconfirmed
from tcpcryptd.crypt.limits import HELLO_TRIES, RETRANSMISSION_INTERVALS
from tcpcryptd.crypt.protection.selective import leaves_room
from tcpcryptd.crypt.protection.session import Resumable, Session
from tcpcryptd.crypt.roles import active_accepts
from tcpcryptd.crypt.syn import for_local_kernel
from tcpcryptd.wire import options, sequence
from tcpcryptd.wire.segment import ACK, RST, SYN, Segment
from tcpcryptd.wire.syn import SynParameters, refusal

_AWARE: Final = frozenset((Opcode.HELLO_SUPPORT, Opcode.PKCONF_SUPPORT, Opcode.NEXTK2_SUPPORT))
_MAX_AREA: Final = options.MAX_LENGTH - len(option.encode(option.Suboption(Opcode.NEXTK1, bytes(SESSION_PREFIX_SIZE))))
"""Bytes of other options beside which there is space to resume a session."""
_ANSWERS: Final = (*_AWARE, Opcode.HELLO, Opcode.PKCONF, Opcode.NEXTK2)


class HelloSent(HandshakeState):
    """The local host's SYN offers encryption."""

    def __init__(self, context: HandshakeContext) -> None:
        super().__init__(context)
        self._tries = 0
        self._bare = False
        """A SYN has gone out without the option."""
        self._resumable: Resumable | None = None
        self._session: tuple[Session, Resumable] | None = None
        """Of the session that was offered, and what follows it, made when the SYN has gone out."""
        self._hello = option.HELLO

    def offer(self, syn: Segment, now: float) -> Verdict:
        """The verdict on the first SYN."""
        self._context.local = SynParameters.of(syn, self._connection.max_mss)
        self._connection.transition(self, self._outbound, self._inbound)
        # A host behind this one may have put it there.
        reason = refusal(syn) if syn.option(CRYPT) is None else "the sender itself offers encryption"
        if reason is not None:
            return self._connection.decide_plain(reason)
        self._hello = self._opening(syn, now)
        area = self._area(syn)
        return (
            self._connection.decide_plain("the SYN has no space for the option")
            if area is None
            else self._send(syn, area)
        )

    def _opening(self, syn: Segment, now: float) -> option.Suboption:
        aware = self._connection.options.support
        if len(self._context.kept_options(syn)) <= _MAX_AREA:
            # The session is gone once it was offered: its keys must not be used twice.
            self._resumable = take_to_open(self._context, now)
        if self._resumable is None:
            return option.Suboption(Opcode.HELLO_SUPPORT if aware else Opcode.HELLO)
        self._context.keeps_sack &= leaves_room(self._resumable.suite.tag_length)
        self._connection.afterwards(self._make_keys)
        opcode = Opcode.NEXTK1_SUPPORT if aware else Opcode.NEXTK1
        return option.Suboption(opcode, self._resumable.session_id[:SESSION_PREFIX_SIZE])

    def _make_keys(self) -> None:
        self._keys_made()

    def _keys_made(self) -> tuple[Session, Resumable] | None:
        if self._session is None and self._resumable is not None:
            self._session = Session.begin(self._resumable, resumed=True)
        return self._session

    def _area(self, syn: Segment) -> bytes | None:
        return option.append(self._context.kept_options(syn), self._hello)

    def _send(self, syn: Segment, area: bytes | None) -> Verdict:
        self._tries += 1
        if self._tries > HELLO_TRIES and not self._connection.must_encrypt:
            self._bare = True
            return modify(syn.edited(payload=b"")) if syn.payload_length else ACCEPT
        # Data in a SYN would leave in clear; the kernel sends it again when the SYN ACK does not acknowledge it.
        return modify(syn.edited(option_area=area, payload=b""))

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            if segment.sequence != self._context.local.isn:
                return self._connection.renew(segment, Direction.OUT, now)
            self._context.saw(segment, Direction.OUT, now)
            return self._send(segment, self._area(segment))
        if segment.flags & SYN:
            return self._connection.decide_plain("both hosts opened the connection at once")
        if segment.flags & RST:
            return ACCEPT
        if segment.sequence == sequence.add(self._context.local.isn, 1):
            # Or the SYN has waited in the queue while the kernel was answered one before it.
            return self._connection.decide_plain(UNSEEN_ANSWER)
        # Of an earlier connection, which may have been encrypted.
        return DROP

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if not segment.checksum_is_right:
            return ACCEPT
        if segment.is_opening:
            return self._connection.decide_plain("both hosts opened the connection at once")
        if segment.flags & RST:
            if self._bare and segment.acknowledgment == sequence.add(self._context.local.isn, 1):
                self._connection.offer_swallowed(now)
            return ACCEPT
        if not segment.flags & SYN:
            return ACCEPT
        if segment.acknowledgment != sequence.add(self._context.local.isn, 1):
            return DROP if self._context.local.is_acknowledged_too_far(segment) else ACCEPT
        self._context.remote = SynParameters.of(segment)
        answer = option.find(option.read(segment), *_ANSWERS)
        if answer is None:
            return self._declined(now)
        self._connection.offer_answered()
        self._context.peer_aware = answer.opcode in _AWARE
        if self._connection.options.support is Support.MANDATORY and not self._context.peer_aware:
            return self._connection.decide_plain("the peer's application is not aware of tcpcrypt")
        return self._go_on(segment, answer, now)

    def _declined(self, now: float) -> Verdict:
        if self._tries < HELLO_TRIES:
            self._connection.offer_answered()
        else:
            # A peer leaves the option out of its third SYN ACK, which it sends when the second SYN comes.
            self._connection.offer_swallowed(now)
        if self._bare:
            return self._connection.decide_plain(SWALLOWED)
        self._connection.declined(now)
        return self._connection.decide_plain("the peer does not speak tcpcrypt")

    def _go_on(self, syn_ack: Segment, answer: option.Suboption, now: float) -> Verdict:
        mode = self._connection.options.client_mode
        self._context.transcript = option.encode(self._hello) + option.as_sent(syn_ack)
        if answer.opcode in (Opcode.NEXTK2, Opcode.NEXTK2_SUPPORT):
            keys = self._keys_made()
            if keys is None:
                return self._connection.decide_plain("the peer resumes a session that was not offered")
            return self._resume(syn_ack, keys[0], keys[1], now)
        switched = answer.opcode in (Opcode.HELLO, Opcode.HELLO_SUPPORT)
        if not active_accepts(mode, switched=switched):
            return self._connection.decide_plain("the hosts' settings for the roles do not fit")
        if switched:
            pkconf_sent = PkconfSent(self._context)
            if not pkconf_sent.exchange.offers:
                return self._connection.decide_plain("no public-key algorithm that can be offered")
            self._context.transcript += option.encode(pkconf_sent.exchange.pkconf)
            pkconf_sent.take_over()
        else:
            exchange = ClientExchange.choose(self._context, answer)
            if isinstance(exchange, str):
                return self._connection.decide_plain(exchange)
            exchange.take_over()
        return modify(self._for_local_kernel(syn_ack, 0))

    def _for_local_kernel(self, syn_ack: Segment, window: int) -> bytes:
        context = self._context
        return for_local_kernel(syn_ack, context.local.mss, window, keeps_sack=context.keeps_sack)

    def _resume(self, syn_ack: Segment, session: Session, following: Resumable, now: float) -> Verdict:
        def protect() -> Unconfirmed:
            unconfirmed = Unconfirmed(self._context, session, following)
            unconfirmed.take_over()
            self._connection.encrypted(now)
            # For a peer that does not get the kernel's ACK and sends its SYN ACK again.
            unconfirmed.protection.answer = self._context.acknowledgment
            return unconfirmed

        self._connection.connection_class = ConnectionClass.ENCRYPTED
        KeysDue(self._connection, protect).take_over(now)
        return modify(self._for_local_kernel(syn_ack, syn_ack.window), ConnectionClass.ENCRYPTED)


class PkconfSent(HandshakeState):
    """The passive opener wants to be the client: the first ACK carries PKCONF (docs/crypt-option.md section 7)."""

    def __init__(self, context: HandshakeContext) -> None:
        super().__init__(context)
        # Only with the kernel's ACKs of a repeated SYN ACK: the original takes a PKCONF behind its INIT1 for the end.
        self._intervals = (sum(RETRANSMISSION_INTERVALS),)
        self.exchange = ServerExchange(context)

    def take_over(self) -> None:
        """Binds the handlers."""
        self._connection.transition(self, self._outbound, self._inbound)

    def undeliverable(self, now: float) -> bool:
        """PKCONF was refused: the connection goes on in clear."""
        self._connection.cancel_timer()
        self._give_up(now)
        return True

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        bare = self.first_ack(segment, now)
        if isinstance(bare, tuple):
            return bare
        return self._carried(bare, self.exchange.pkconf, self._give_up, now)

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if not segment.checksum_is_right:
            return DROP
        if segment.flags & RST:
            return ACCEPT
        if segment.flags & (SYN | ACK) == SYN | ACK and self._sent is not None:
            self._sent.repeat()
            return DROP
        context = self._context
        if segment.sequence != sequence.add(context.remote.isn, 1) or self._sent is None:
            return DROP
        if segment.acknowledgment != sequence.add(context.local.isn, 1):
            return DROP
        if option.find(option.read(segment), Opcode.INIT1) is not None:
            return self.exchange.receive(segment, now)
        if segment.option(CRYPT) is None:
            self._connection.cancel_timer()
            return Unanswered(context, "the peer did not go on with the handshake").take_over()
        return DROP

    def _give_up(self, now: float) -> None:
        Unanswered(self._context, "PKCONF was not answered").take_over_in_time()
