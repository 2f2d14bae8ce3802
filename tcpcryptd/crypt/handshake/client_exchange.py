"""The client of the key exchange: it has a PKCONF, sends INIT1 and waits for INIT2 (docs/crypt-option.md section 2)."""

from collections.abc import Sequence
from typing import Final, Self

from tcpcryptd.core.protocol import ACCEPT, DROP, Classical, ConnectionClass, Direction, Injection, Verdict, modify
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import CRYPT, MAC, NONCE_SIZE, PUBLIC_KEY_SPEC_SIZE, Opcode
from tcpcryptd.crypt.handshake.context import Fields, HandshakeContext
from tcpcryptd.crypt.handshake.identification import identify, leave_out, needed_fields, with_proof
from tcpcryptd.crypt.handshake.messages import Init1, Init2, MessageError, split_specs
from tcpcryptd.crypt.handshake.retransmission import Retransmission
from tcpcryptd.crypt.handshake.state import HandshakeState
from tcpcryptd.crypt.handshake.unanswered import Unanswered
from tcpcryptd.crypt.handshake.unconfirmed import Unconfirmed
from tcpcryptd.crypt.limits import INIT2_GRACE, LARGE_TRIES, RETRANSMISSION_INTERVALS, SHORT_INTERVALS
from tcpcryptd.crypt.protection.session import Resumable, Session
from tcpcryptd.crypt.roles import Role
from tcpcryptd.crypto.key_agreement import KeyAgreementError, PrivateKey
from tcpcryptd.crypto.key_schedule import digest, initial_secret
from tcpcryptd.crypto.suites import PublicKeyAlgorithm
from tcpcryptd.identity import proof
from tcpcryptd.identity.identification import token_of
from tcpcryptd.wire import sequence
from tcpcryptd.wire.segment import RST, SYN, Segment, unfragmented

_INIT1: Final = option.Suboption(Opcode.INIT1)
_NOTHING_COMMON: Final = "no common public-key algorithm"

Choice = tuple[PublicKeyAlgorithm, bytes]
"""A mechanism, and the spec that names it in the peer's list."""


class ClientExchange(HandshakeState):
    """Sends INIT1 in the place of the kernel's first ACK, or, with switched roles, in a segment of its own.

    One that nearly fills a packet and gets no answer may be too large for some link of the path: then another, smaller
    one follows, with another mechanism. From then on INIT2 is only taken for that one, whatever was late, as the server
    answers to that one alone from then on: so both ends go by the same.
    """

    def __init__(
        self,
        context: HandshakeContext,
        pkconf: option.Suboption,
        choice: Choice,
        key: PrivateKey,
        smaller: Choice | None,
        classical: Classical,
        fields: Fields | None,
    ) -> None:
        """`smaller`: what may follow; None: nothing. `classical`: why it is not post-quantum, if it is not.

        `fields`: for the extensions; None: both messages go without.
        """
        super().__init__(context)
        self._public_key_specs = pkconf.body
        self._smaller = smaller
        self._tries = 0
        """How often an INIT1 that a smaller one may follow was sent in vain."""
        self._lengths: list[int] = []
        """Of each INIT1 that was made."""
        self._lost = False
        """The peer has keys, and its INIT2 has not come."""
        self._classical = classical
        self._fields = fields
        self._use(choice, key)
        if not self._algorithm.agreement.ephemeral:
            self._intervals = SHORT_INTERVALS
        elif smaller is not None:
            self._intervals = RETRANSMISSION_INTERVALS[:1]

    def _use(self, choice: Choice, key: PrivateKey) -> None:
        self._algorithm, spec = choice
        self._key = key
        nonce = self._connection.random(NONCE_SIZE)
        self._init1 = init1 = Init1(self._context.symmetric_specs, nonce, spec, key.public_bytes)
        if self._fields is None:
            self._message = init1.encode()
        else:
            self._message = with_proof(self._context, proof.Role.INITIATOR, lambda field: init1.encode() + field)
        self._lengths.append(len(self._message))

    @classmethod
    def choose(cls, context: HandshakeContext, pkconf: option.Suboption) -> "Self | str":
        """The exchange with the best algorithm that the peer's list and our configuration share, or why there is none.

        Proofs of identity rather than a better algorithm, when there is no room for both.
        """
        try:
            specs = split_specs(pkconf.body, PUBLIC_KEY_SPEC_SIZE)
        except MessageError:
            return _NOTHING_COMMON
        if not context.can_name_a_suite_to(specs):
            return _NOTHING_COMMON
        fields = needed_fields(context, specs)
        fitting = context.fitting(is_client=True, fields=fields)
        choices = _choices(fitting, specs)
        if fields is None or not choices:
            reason = leave_out(context, for_size=fields is not None)
            if context.connection.must_authenticate:
                return reason
        if fields is not None and not choices:
            fields = None
            fitting = context.fitting(is_client=True)
            choices = _choices(fitting, specs)
        for at, choice in enumerate(choices):
            agreement = choice[0].agreement
            key = context.config.new_key(agreement)
            if key is not None:
                smaller = _smaller(choices[at + 1 :]) if agreement.post_quantum else None
                return cls(context, pkconf, choice, key, smaller, context.why_classical(fitting), fields)
        return _NOTHING_COMMON

    def take_over(self) -> None:
        """Binds the handlers."""
        self._connection.transition(self, self._outbound, self._inbound)

    def send(self, now: float) -> None:
        """Sends INIT1 without waiting for a segment of the kernel."""
        packet = self._context.make(Direction.OUT, 0, option.encode(_INIT1), self._message)
        self._sent = Retransmission(self._connection, packet, self._intervals, self._give_up)
        self._sent.repeat()
        self._sent.start(now)

    def undeliverable(self, now: float) -> bool:
        """INIT1 was refused, the first or a repeated one: the connection goes on in clear."""
        self._connection.cancel_timer()
        self._smaller = None
        self._give_up(now)
        return True

    def resets(self) -> list[Injection]:
        """The peer may have accepted INIT1 or not."""
        resets: list[Injection] = []
        for sent in (*self._lengths, 0):
            resets += [reset for reset in self._context.resets(sent) if reset not in resets]
        return resets

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        bare = self.first_ack(segment, now)
        if isinstance(bare, tuple):
            return bare
        if self._algorithm.agreement.post_quantum:
            bare = unfragmented(bare)
        return self._carried(bare, _INIT1, self._give_up, now, self._message)

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if not segment.checksum_is_right:
            return DROP
        if segment.flags & RST:
            return ACCEPT
        context = self._context
        if self._sent is not None and any(context.is_sealed(segment, length) for length in self._lengths):
            return self._receive_sealed(segment, now)
        if segment.flags & SYN or segment.sequence != sequence.add(context.remote.isn, 1) or self._sent is None:
            return DROP
        first = sequence.add(context.local.isn, 1)
        if option.find(option.read(segment), Opcode.INIT2) is not None:
            taken = sequence.difference(segment.acknowledgment, first)
            if taken != len(self._message):
                # Somebody has changed INIT1 on its way, unless it is the answer to an earlier one.
                self._lost |= taken > 0 and taken not in self._lengths
                return DROP
            return self._receive_init2(segment, now)
        if self._lost:
            return DROP
        if segment.option(CRYPT) is None and segment.option(MAC) is None and segment.acknowledgment == first:
            # A peer that took INIT1 would have acknowledged it, and its kernel sends nothing before.
            self._connection.cancel_timer()
            return Unanswered(context, "the peer did not accept INIT1", self._lengths).take_over()
        return DROP

    def _receive_sealed(self, segment: Segment, now: float) -> Verdict:
        """The peer has keys. The original seals INIT2 when it sends it again: then there will be none here."""
        waits, self._lost = not self._lost, True
        if option.find(option.read(segment), Opcode.INIT2) is not None:
            self._give_up(now)
        elif waits and not self._algorithm.agreement.ephemeral:
            self._connection.set_timer(now + INIT2_GRACE, self._give_up)
        return DROP

    def _receive_init2(self, segment: Segment, now: float) -> Verdict:
        message = segment.payload
        try:
            init2 = Init2.decode(message)
            suites = self._context.client_suites
            suite = next((each for each in suites if each.spec == init2.symmetric_spec), None)
            if suite is None or (init2.extension_field and self._fields is None):
                raise MessageError("INIT2 with what was not offered")
            if not self._identify(init2, message):
                return DROP
            server_nonce = self._key.decapsulate(init2.ciphertext)
        except (MessageError, KeyAgreementError):
            self._connection.count("bad_init2")
            return DROP
        secret = initial_secret(
            server_nonce=server_nonce,
            public_key=self._init1.public_key,
            public_specs=self._public_key_specs,
            symmetric_specs=self._init1.symmetric_specs,
            chosen_symmetric=init2.symmetric_spec,
            client_nonce=self._init1.nonce,
            messages=digest(self._message, message) if self._fields is not None else b"",
        )
        token = token_of(self._connection)
        return self._open(Resumable(secret, Role.CLIENT, suite, self._algorithm.agreement.name, token), segment, now)

    def _identify(self, init2: Init2, message: bytes) -> bool:
        """Whether the server may be the one that it proves to be."""
        if self._fields is None:
            return True
        role, field = proof.Role.RESPONDER, init2.extension_field
        return identify(self._context, role, field, message, self._message)

    def _open(self, state: Resumable, segment: Segment, now: float) -> Verdict:
        context = self._context
        context.saw(segment, Direction.IN, now)
        self._connection.cancel_timer()
        init1 = self._init1
        session, following = Session.begin(
            state,
            public_key=init1.public_key,
            public_key_spec=init1.public_key_spec,
            classical=self._classical,
        )
        lengths = {"sent": len(self._message), "received": segment.payload_length}
        unconfirmed = Unconfirmed(context, session, following, **lengths)
        unconfirmed.take_over()
        self._connection.encrypted(now)
        # A proof shows that the server has made the keys.
        self._connection.identified()
        unconfirmed.protection.answer = context.acknowledgment
        unconfirmed.protection.send(context.acknowledgment(), now)
        if context.held is not None:
            unconfirmed.protection.send(context.held, now)
        # The window of INIT2's segment opens the kernel's.
        opened = segment.edited(acknowledgment=sequence.add(context.local.isn, 1), payload=b"")
        return modify(opened, ConnectionClass.ENCRYPTED)

    def _give_up(self, now: float) -> None:
        if self._lost:
            self._connection.count("init2_lost")
            self._connection.reset()
        elif self._smaller is None:
            Unanswered(self._context, "INIT1 was not answered", self._lengths).take_over_in_time()
        else:
            self._try_again(self._smaller, now)

    def _try_again(self, smaller: Choice, now: float) -> None:
        """The same INIT1 once more, unless the path has turned out to be too narrow, then the smaller one."""
        self._tries += 1
        fits = self._context.fits(self._algorithm, is_client=True, fields=self._fields)
        self._intervals = RETRANSMISSION_INTERVALS[self._tries : self._tries + 1]
        if self._tries == LARGE_TRIES or not fits:
            key = self._context.config.new_key(smaller[0].agreement)
            if key is not None:
                self._use(smaller, key)
            self._smaller = None
            self._classical = Classical.LOSS if fits else Classical.SIZE
            self._intervals = RETRANSMISSION_INTERVALS[self._tries :]
        self._connection.count("handshake_retransmissions")
        self.send(now)


def _choices(fitting: Sequence[PublicKeyAlgorithm], specs: Sequence[bytes]) -> list[Choice]:
    return [(algorithm, spec) for algorithm in fitting for spec in specs if algorithm.accepts(spec)]


def _smaller(choices: list[Choice]) -> Choice | None:
    """The best that has small messages, and keys of each connection's own."""
    fit = (each for each in choices if each[0].agreement.ephemeral and not each[0].agreement.post_quantum)
    return next(fit, None)
