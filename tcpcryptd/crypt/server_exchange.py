"""The server of the key exchange: INIT1 comes in, INIT2 goes out (spec section 2)."""

from typing import Final

from tcpcryptd.core.protocol import DROP, ConnectionClass, Direction, Verdict, modify
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import NONCE_SIZE, SYMMETRIC_SPEC_SIZE, Opcode
from tcpcryptd.crypt.handshake import Handshake
from tcpcryptd.crypt.limits import RETRANSMISSION_INTERVALS, SHORT_INTERVALS
from tcpcryptd.crypt.messages import Init1, Init2, MessageError, split_specs
from tcpcryptd.crypt.roles import Role
from tcpcryptd.crypt.session import Resumable, Session
from tcpcryptd.crypt.unconfirmed import Init2Sent
from tcpcryptd.crypto.key_agreement import KeyAgreementError
from tcpcryptd.crypto.key_schedule import initial_secret
from tcpcryptd.crypto.suites import SymmetricSuite
from tcpcryptd.wire.segment import Segment

_INIT2: Final = option.Suboption(Opcode.INIT2)


class ServerExchange:
    """Offers public-key mechanisms and answers the client's choice."""

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._connection = handshake.connection
        self._public_key_specs = handshake.public_key_specs

    @property
    def pkconf(self) -> option.Suboption:
        """What this host offers."""
        aware = self._connection.options.support
        return option.Suboption(Opcode.PKCONF_SUPPORT if aware else Opcode.PKCONF, self._public_key_specs)

    def receive(self, segment: Segment, now: float) -> Verdict:
        """The verdict on the segment with INIT1; the segment's numbers are those that follow the SYNs."""
        try:
            init1 = Init1.decode(segment.payload)
            algorithm = self._handshake.public_key_algorithm(init1.public_key_spec)
            suite = self._choose(init1)
            if algorithm is None or suite is None:
                return self._refuse()
            nonce = self._connection.random(NONCE_SIZE)
            ciphertext = algorithm.agreement.encapsulate(init1.public_key, nonce)
        except (MessageError, KeyAgreementError):
            self._connection.count("bad_init1")
            return self._refuse()
        secret = initial_secret(
            server_nonce=nonce,
            public_key=init1.public_key,
            public_specs=self._public_key_specs,
            symmetric_specs=init1.symmetric_specs,
            chosen_symmetric=suite.spec,
            client_nonce=init1.nonce,
        )
        state = Resumable(secret, Role.SERVER, suite, algorithm.agreement.name)
        session, following = Session.begin(state, public_key=init1.public_key, public_key_spec=init1.public_key_spec)
        message = Init2(suite.spec, ciphertext).encode()
        received = segment.payload_length
        self._handshake.saw(segment, Direction.IN, now)
        init2 = self._handshake.make(Direction.OUT, received, option.encode(_INIT2), message)
        lengths = {"sent": len(message), "received": received}
        # The original repeats INIT1 when it is the passive one, and forgets the connection in time; else it waits.
        forgets = self._connection.opening.active and not algorithm.agreement.ephemeral
        intervals = SHORT_INTERVALS if forgets else RETRANSMISSION_INTERVALS
        unshifted = self._handshake.resets()[0]
        Init2Sent(self._handshake, session, following, **lengths).begin(init2, intervals, unshifted, now)
        # The ACK that the kernel waits for; its window stays closed until the peer has shown that it has the keys.
        return modify(segment.edited(window=0, payload=b""), ConnectionClass.ENCRYPTED)

    def _choose(self, init1: Init1) -> SymmetricSuite | None:
        specs = split_specs(init1.symmetric_specs, SYMMETRIC_SPEC_SIZE)
        return next((suite for suite in self._handshake.server_suites if suite.offered_by(specs)), None)

    def _refuse(self) -> Verdict:
        """The peer falls back when it sees that INIT1 is not acknowledged; we do when its next segment shows that."""
        self._connection.inject(Direction.OUT, self._handshake.make(Direction.OUT))
        return DROP


def looks_like_init1(payload: bytes) -> bool:
    """Whether a payload is an INIT1, which may have lost its option on the way."""
    try:
        Init1.decode(payload)
    except MessageError:
        return False
    return True
