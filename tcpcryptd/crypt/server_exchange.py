"""The server of the key exchange: it has sent PKCONF, waits for INIT1 and answers with INIT2 (spec section 2)."""

from tcpcryptd.core.connection import Connection
from tcpcryptd.core.protocol import Description, Injection
from tcpcryptd.core.verdict import ACCEPT, DROP, ConnectionClass, Direction, Verdict, modify
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import (
    MAC,
    NONCE_SIZE,
    SYMMETRIC_SPEC_SIZE,
    Opcode,
)
from tcpcryptd.crypt.handshake import Handshake, for_local_kernel, without_sack
from tcpcryptd.crypt.limits import HELLO_TRIES
from tcpcryptd.crypt.messages import Init1, Init2, MessageError, split_specs
from tcpcryptd.crypt.protection import Protection
from tcpcryptd.crypt.retransmission import Retransmission
from tcpcryptd.crypt.session import Role, Session
from tcpcryptd.crypto.key_agreement import KeyAgreementError
from tcpcryptd.crypto.key_schedule import initial_secret
from tcpcryptd.crypto.suites import SymmetricSuite, public_key_algorithm
from tcpcryptd.wire import sequence
from tcpcryptd.wire.segment import ACK, RST, SYN, Segment

_INIT2 = option.Suboption(Opcode.INIT2)


class AwaitInit1:
    """The SYN ACK carries PKCONF; the peer's answer decides."""

    def __init__(self, handshake: Handshake, pkconf: option.Suboption) -> None:
        self._handshake = handshake
        self._connection = handshake.connection
        self._pkconf = pkconf
        self._tries = 0

    def take_over(self) -> None:
        """Binds the handlers."""
        self._connection.become(self, self.outbound, self._inbound)

    def describe(self) -> Description:
        """Nothing is agreed yet."""
        return Description(role=Role.SERVER.value)

    def resets(self) -> list[Injection]:
        """Neither kernel has sent data."""
        return self._handshake.resets()

    def outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """The SYN ACK, and its retransmissions."""
        segment = Segment(packet, offset)
        if segment.is_opening:
            return self._connection.renew(segment, Direction.OUT, now)
        if segment.flags & (SYN | ACK) != SYN | ACK or segment.sequence != self._handshake.local.isn:
            return ACCEPT if not segment.payload_length else DROP
        self._handshake.saw(segment, Direction.OUT, now)
        self._tries += 1
        if self._tries > HELLO_TRIES:
            return ACCEPT
        area = option.append(without_sack(segment.option_area), self._pkconf)
        return modify(segment.edited(option_area=area)) if area is not None else ACCEPT

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.flags & RST or not segment.checksum_is_right:
            return ACCEPT
        if segment.is_opening:
            if segment.sequence != self._handshake.remote.isn:
                return ACCEPT
            return modify(for_local_kernel(segment, self._handshake.local.mss))
        if segment.flags & SYN or segment.acknowledgment != sequence.add(self._handshake.local.isn, 1):
            return DROP
        first = segment.sequence == sequence.add(self._handshake.remote.isn, 1)
        if option.find(option.read(segment), Opcode.INIT1) is not None:
            return self._receive_init1(segment, now) if first else DROP
        if segment.option(MAC) is not None or (first and _is_init1(segment.payload)):
            # Ahead of a lost INIT1, or an INIT1 whose option was stripped: nothing for the application.
            self._connection.count("stray")
            return DROP
        return self._connection.decide_plain("the peer did not go on with the handshake")

    def _receive_init1(self, segment: Segment, now: float) -> Verdict:
        try:
            init1 = Init1.decode(segment.payload)
            algorithm = public_key_algorithm(init1.public_key_spec)
            suite = self._choose(init1)
            if algorithm not in self._handshake.config.public_key_algorithms or suite is None or algorithm is None:
                return self._refuse(segment, now)
            nonce = self._connection.random(NONCE_SIZE)
            ciphertext = algorithm.agreement.encapsulate(init1.public_key, nonce)
        except (MessageError, KeyAgreementError):
            self._connection.count("bad_init1")
            return self._refuse(segment, now)
        secret = initial_secret(
            server_nonce=nonce,
            public_key=init1.public_key,
            public_specs=self._pkconf.body,
            symmetric_specs=init1.symmetric_specs,
            chosen_symmetric=suite.spec,
            client_nonce=init1.nonce,
        )
        self._handshake.saw(segment, Direction.IN, now)
        session = Session.of(secret, Role.SERVER, suite, algorithm.agreement.name).with_peer(
            aware=self._handshake.peer_aware
        )
        message = Init2(suite.spec, ciphertext).encode()
        received = segment.payload_length
        init2 = self._handshake.make(Direction.OUT, received, option.encode(_INIT2), message)
        numbers = self._handshake.numbers(sent=len(message), received=received)
        protection = Protection(self._connection, session, numbers, self._handshake.max_segment)
        Init2Sent(self._connection, protection, init2).take_over(now)
        # The kernel's third ACK; the window stays closed until the peer has shown that it has the keys.
        return modify(segment.edited(window=0, payload=b""), ConnectionClass.ENCRYPTED)

    def _choose(self, init1: Init1) -> SymmetricSuite | None:
        specs = split_specs(init1.symmetric_specs, SYMMETRIC_SPEC_SIZE)
        return next((suite for suite in self._handshake.config.symmetric_suites if suite.offered_by(specs)), None)

    def _refuse(self, segment: Segment, now: float) -> Verdict:
        """The peer falls back when it sees that INIT1 is not acknowledged; we do when its next segment shows that."""
        self._connection.inject(Direction.OUT, self._handshake.make(Direction.OUT))
        return DROP


class Init2Sent:
    """This side has the keys; the peer's first authentic segment shows that it has them too."""

    def __init__(self, connection: Connection, protection: Protection, init2: bytes) -> None:
        self._connection = connection
        self._protection = protection
        self._sent = Retransmission(connection, init2, self._give_up)

    def take_over(self, now: float) -> None:
        """Sends INIT2 and binds the handlers."""
        self._connection.become(self, self._protection.outbound, self._inbound)
        self._connection.connection_class = ConnectionClass.ENCRYPTED
        self._sent.repeat()
        self._sent.start(now)

    def describe(self) -> Description:
        """The session, though the peer has not confirmed it."""
        return self._protection.describe()

    def resets(self) -> list[Injection]:
        """As for an open connection."""
        return self._protection.resets()

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        if option.find(option.read(Segment(packet, offset)), Opcode.INIT1) is not None:
            self._sent.repeat()
            return DROP
        verdict = self._protection.inbound(packet, offset, now)
        if self._protection.heard:
            self._connection.cancel_timer()
            self._protection.take_over(now)
            self._connection.encrypted(now)
        return verdict

    def _give_up(self, now: float) -> None:
        self._connection.count("init2_unanswered")
        self._connection.reset()


def _is_init1(payload: bytes) -> bool:
    try:
        Init1.decode(payload)
    except MessageError:
        return False
    return True
