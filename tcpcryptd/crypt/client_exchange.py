"""The client of the key exchange: it has a PKCONF, sends INIT1 and waits for INIT2 (spec section 2)."""

from typing import Final, Self

from tcpcryptd.core.protocol import ACCEPT, DROP, ConnectionClass, Direction, Injection, Retransmission, Verdict, modify
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import CRYPT, MAC, NONCE_SIZE, PUBLIC_KEY_SPEC_SIZE, Opcode
from tcpcryptd.crypt.handshake import Handshake
from tcpcryptd.crypt.limits import INIT2_GRACE, SHORT_INTERVALS
from tcpcryptd.crypt.messages import Init1, Init2, MessageError, split_specs
from tcpcryptd.crypt.roles import Role
from tcpcryptd.crypt.session import Resumable, Session
from tcpcryptd.crypt.state import HandshakeState
from tcpcryptd.crypt.unanswered import Unanswered
from tcpcryptd.crypt.unconfirmed import Unconfirmed
from tcpcryptd.crypto.key_agreement import KeyAgreementError, PrivateKey
from tcpcryptd.crypto.key_schedule import initial_secret
from tcpcryptd.crypto.suites import PublicKeyAlgorithm
from tcpcryptd.wire import sequence
from tcpcryptd.wire.segment import RST, SYN, Segment

_INIT1: Final = option.Suboption(Opcode.INIT1)


class ClientExchange(HandshakeState):
    """Sends INIT1 in the place of the kernel's first ACK, or, with switched roles, in a segment of its own."""

    def __init__(
        self,
        handshake: Handshake,
        pkconf: option.Suboption,
        algorithm: PublicKeyAlgorithm,
        spec: bytes,
        key: PrivateKey,
    ) -> None:
        super().__init__(handshake)
        self._algorithm = algorithm
        self._key = key
        self._public_key_specs = pkconf.body
        nonce = self._connection.random(NONCE_SIZE)
        self._init1 = Init1(handshake.symmetric_specs, nonce, spec, key.public_bytes)
        self._message = self._init1.encode()
        self._lost = False
        """The peer has keys, and its INIT2 has not come."""
        if not algorithm.agreement.ephemeral:
            self._intervals = SHORT_INTERVALS

    @classmethod
    def choose(cls, handshake: Handshake, pkconf: option.Suboption) -> Self | None:
        """The exchange with the best algorithm that the peer's list and our configuration share; None: none."""
        try:
            specs = split_specs(pkconf.body, PUBLIC_KEY_SPEC_SIZE)
        except MessageError:
            return None
        if not handshake.can_name_a_suite_to(specs):
            return None
        for algorithm in handshake.public_key_algorithms:
            for spec in specs:
                if not algorithm.accepts(spec):
                    continue
                agreement = algorithm.agreement
                key = agreement.generate() if agreement.ephemeral else handshake.config.rsa_keys.current()
                if key is not None:
                    return cls(handshake, pkconf, algorithm, spec, key)
        return None

    def take_over(self) -> None:
        """Binds the handlers."""
        self._connection.become(self, self._outbound, self._inbound)

    def send(self, now: float) -> None:
        """Sends INIT1 without waiting for the kernel to send something."""
        packet = self._handshake.make(Direction.OUT, 0, option.encode(_INIT1), self._message)
        self._sent = Retransmission(self._connection, packet, self._intervals, self._give_up)
        self._sent.repeat()
        self._sent.start(now)

    def undeliverable(self, now: float) -> bool:
        """INIT1, by itself or once more: the connection goes on in clear."""
        self._connection.cancel_timer()
        self._give_up(now)
        return True

    def resets(self) -> list[Injection]:
        """The peer may have taken INIT1 or not."""
        peer_took_it = self._handshake.resets(sent=len(self._message))
        return peer_took_it + [reset for reset in self._handshake.resets() if reset not in peer_took_it]

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        bare = self.first_ack(segment, now)
        if isinstance(bare, tuple):
            return bare
        return self._carried(bare, _INIT1, self._give_up, now, self._message)

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if not segment.checksum_is_right:
            return DROP
        if segment.flags & RST:
            return ACCEPT
        handshake = self._handshake
        if self._sent is not None and handshake.is_sealed(segment, len(self._message)):
            return self._receive_sealed(segment, now)
        if segment.flags & SYN or segment.sequence != sequence.add(handshake.remote.isn, 1) or self._sent is None:
            return DROP
        first = sequence.add(handshake.local.isn, 1)
        if option.find(option.read(segment), Opcode.INIT2) is not None:
            if segment.acknowledgment != sequence.add(first, len(self._message)):
                return DROP
            return self._receive_init2(segment, now)
        if self._lost:
            return DROP
        if segment.option(CRYPT) is None and segment.option(MAC) is None and segment.acknowledgment == first:
            # A peer that took INIT1 would have acknowledged it, and its kernel sends nothing before.
            self._connection.cancel_timer()
            return Unanswered(handshake, "the peer did not take INIT1", len(self._message)).take_over()
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
        try:
            init2 = Init2.decode(segment.payload)
            server_nonce = self._key.decapsulate(init2.ciphertext)
        except (MessageError, KeyAgreementError):
            self._connection.count("bad_init2")
            return DROP
        suites = self._handshake.client_suites
        suite = next((each for each in suites if each.spec == init2.symmetric_spec), None)
        if suite is None:
            self._connection.count("bad_init2")
            return DROP
        secret = initial_secret(
            server_nonce=server_nonce,
            public_key=self._init1.public_key,
            public_specs=self._public_key_specs,
            symmetric_specs=self._init1.symmetric_specs,
            chosen_symmetric=init2.symmetric_spec,
            client_nonce=self._init1.nonce,
        )
        return self._open(Resumable(secret, Role.CLIENT, suite, self._algorithm.agreement.name), segment, now)

    def _open(self, state: Resumable, segment: Segment, now: float) -> Verdict:
        handshake = self._handshake
        handshake.saw(segment, Direction.IN, now)
        self._connection.cancel_timer()
        init1 = self._init1
        session, following = Session.begin(state, public_key=init1.public_key, public_key_spec=init1.public_key_spec)
        lengths = {"sent": len(self._message), "received": segment.payload_length}
        unconfirmed = Unconfirmed(handshake, session, following, **lengths)
        unconfirmed.take_over()
        self._connection.encrypted(now)
        unconfirmed.protection.answer = handshake.acknowledgment
        unconfirmed.protection.send(handshake.acknowledgment(), now)
        if handshake.held is not None:
            unconfirmed.protection.send(handshake.held, now)
        # The window of INIT2's segment opens the kernel's.
        opened = segment.edited(acknowledgment=sequence.add(handshake.local.isn, 1), payload=b"")
        return modify(opened, ConnectionClass.ENCRYPTED)

    def _give_up(self, now: float) -> None:
        if self._lost:
            self._connection.count("init2_lost")
            self._connection.reset()
            return
        Unanswered(self._handshake, "INIT1 was not answered", len(self._message)).take_over_in_time()
