"""The server of the key exchange: INIT1 comes in, INIT2 goes out (docs/crypt-option.md section 2)."""

from collections.abc import Sequence
from typing import Final

from tcpcryptd.core.handshake import KeysDue
from tcpcryptd.core.protocol import DROP, Classical, ConnectionClass, Direction, Verdict, modify
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import NONCE_SIZE, SYMMETRIC_SPEC_SIZE, Opcode
from tcpcryptd.crypt.handshake.context import HandshakeContext
from tcpcryptd.crypt.handshake.identification import NO_EXTENSIONS, judge, own_length, spec, with_proof
from tcpcryptd.crypt.handshake.messages import Init1, Init2, MessageError, split_specs
from tcpcryptd.crypt.handshake.unconfirmed import Init2Sent
from tcpcryptd.crypt.limits import RETRANSMISSION_INTERVALS, SHORT_INTERVALS
from tcpcryptd.crypt.protection.session import Resumable, Session
from tcpcryptd.crypt.roles import Role
from tcpcryptd.crypto.key_agreement import KeyAgreementError
from tcpcryptd.crypto.key_schedule import digest, initial_secret
from tcpcryptd.crypto.suites import RSA_2048, PublicKeyAlgorithm, SymmetricSuite
from tcpcryptd.identity import proof
from tcpcryptd.identity.identification import token_of
from tcpcryptd.wire.segment import Segment
from tcpcryptd.wire.sequence import add

_INIT2: Final = option.Suboption(Opcode.INIT2)


class ServerExchange:
    """Offers public-key mechanisms and answers the client's choice."""

    def __init__(self, context: HandshakeContext, option_area: bytes = b"") -> None:
        """`option_area`: what PKCONF goes behind."""
        self._context = context
        self._connection = context.connection
        self._offered = context.fitting(is_client=False)
        self._public_key_specs = _specs(self._offered) + spec(context)
        if option.append(option_area, self.pkconf) is None:
            self._offered = tuple(each for each in self._offered if not each.agreement.post_quantum)
            self._public_key_specs = _specs(self._offered) + spec(context)

    @property
    def offers(self) -> bool:
        """Whether there is a mechanism that can be offered."""
        return bool(self._offered)

    @property
    def pkconf(self) -> option.Suboption:
        """What this host offers."""
        aware = self._connection.options.support
        return option.Suboption(Opcode.PKCONF_SUPPORT if aware else Opcode.PKCONF, self._public_key_specs)

    def receive(self, segment: Segment, now: float) -> Verdict:
        """The verdict on the segment with INIT1; the segment's numbers are those that follow the SYNs."""
        return self._answer(segment, now) or self._refuse()

    def receive_smaller(self, segment: Segment, now: float) -> Verdict | None:
        """The same after an INIT1 that was large was answered: its sender has seen no INIT2, and tries another one.

        It goes by that one alone from now on, and so does this host. None: it is none of these.
        """
        if not segment.checksum_is_right or segment.sequence != add(self._context.remote.isn, 1):
            return None
        if segment.acknowledgment != add(self._context.local.isn, 1):
            return None
        return self._answer(segment, now, smaller=True)

    def _answer(self, segment: Segment, now: float, *, smaller: bool = False) -> Verdict | None:
        """None: it cannot be used."""
        message1 = segment.payload
        try:
            init1 = Init1.decode(message1)
            algorithm = next((each for each in self._offered if each.spec == init1.public_key_spec), None)
            if algorithm is not None and smaller and algorithm.agreement.post_quantum:
                return None
            suite = self._choose(init1)
            if algorithm is None or suite is None:
                return None
            takes_extensions = algorithm.is_private and self._context.config.authenticator is not None
            if init1.extension_field and not takes_extensions:
                raise MessageError("INIT1 with extensions that were not asked for")
            nonce = self._connection.random(NONCE_SIZE)
            ciphertext = algorithm.agreement.encapsulate(init1.public_key, nonce)
        except (MessageError, KeyAgreementError):
            self._connection.count("bad_init1")
            return None
        # Last: the keys of an INIT1 before this one stay those of the identity in that one.
        judge_client = judge(self._context, init1.extension_field, message1)
        if judge_client is None:
            return DROP
        message = self._init2(init1, message1, algorithm, Init2(suite.spec, ciphertext))
        self._context.saw(segment, Direction.IN, now)
        lengths = {"sent": len(message), "received": segment.payload_length}
        init2 = self._context.make(Direction.OUT, segment.payload_length, option.encode(_INIT2), message)
        unshifted = self._context.resets()[0]
        self._connection.connection_class = ConnectionClass.ENCRYPTED
        self._connection.inject(Direction.OUT, init2)
        # The original repeats INIT1 when it is the passive one, and forgets the connection in time; else it waits.
        forgets = self._connection.origin.active and not algorithm.agreement.ephemeral
        intervals = SHORT_INTERVALS if forgets else RETRANSMISSION_INTERVALS

        def make_keys() -> Init2Sent:
            secret = initial_secret(
                server_nonce=nonce,
                public_key=init1.public_key,
                public_specs=self._public_key_specs,
                symmetric_specs=init1.symmetric_specs,
                chosen_symmetric=suite.spec,
                client_nonce=init1.nonce,
                messages=digest(message1, message) if init1.extension_field else b"",
            )
            state = Resumable(secret, Role.SERVER, suite, algorithm.agreement.name, token_of(self._connection))
            session, following = Session.begin(
                state,
                public_key=init1.public_key,
                public_key_spec=init1.public_key_spec,
                classical=Classical.LOSS if smaller else self._context.why_classical(self._offered),
            )
            sent = Init2Sent(self._context, session, following, **lengths)
            if algorithm.agreement.post_quantum:
                sent.receive_smaller = self.receive_smaller
            sent.begin(init2, intervals, unshifted, now)
            return sent

        KeysDue(self._connection, make_keys, judge_client).take_over(now)
        # The ACK that the kernel waits for; its window stays closed until the peer has shown that it has the keys.
        return modify(segment.edited(window=0, payload=b""), ConnectionClass.ENCRYPTED)

    def _init2(self, init1: Init1, message1: bytes, algorithm: PublicKeyAlgorithm, init2: Init2) -> bytes:
        """INIT2, with this host's proof if it has one and the client asks for it."""
        context = self._context
        if not init1.extension_field:
            return init2.encode()
        if not context.fits(algorithm, is_client=False, fields=(0, own_length(context))):
            # The client has reckoned with it; but only this host's kernel may know of a narrow link.
            return init2.encode() + NO_EXTENSIONS
        return with_proof(context, proof.Role.RESPONDER, lambda field: init2.encode() + field, message1)

    def _choose(self, init1: Init1) -> SymmetricSuite | None:
        specs = split_specs(init1.symmetric_specs, SYMMETRIC_SPEC_SIZE)
        return next((suite for suite in self._context.server_suites if suite.offered_by(specs)), None)

    def _refuse(self) -> Verdict:
        """The peer falls back when it sees that INIT1 is not acknowledged; we do when its next segment shows that."""
        self._connection.inject(Direction.OUT, self._context.make(Direction.OUT))
        return DROP


def _specs(offered: Sequence[PublicKeyAlgorithm]) -> bytes:
    """The list for PKCONF. First comes what the original knows: it reads no other (docs/crypt-option.md section 2)."""
    return b"".join(entry.spec for entry in sorted(offered, key=lambda entry: entry is not RSA_2048))


def looks_like_init1(payload: bytes) -> bool:
    """Whether a payload is an INIT1, which may have lost its option on the way."""
    try:
        Init1.decode(payload)
    except MessageError:
        return False
    return True
