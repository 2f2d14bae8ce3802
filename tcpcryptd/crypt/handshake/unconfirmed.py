"""There are keys; the peer's first authentic segment will show that it has them, too."""

from collections.abc import Callable, Sequence

from tcpcryptd.core.protocol import (
    DROP,
    ConnectionClass,
    Description,
    Direction,
    Injection,
    ProtocolState,
    Quoted,
    Verdict,
)
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypt.handshake.context import HandshakeContext
from tcpcryptd.crypt.handshake.key_log import ConnectionKeyLog
from tcpcryptd.crypt.handshake.resumption import remember
from tcpcryptd.crypt.handshake.retransmission import Retransmission
from tcpcryptd.crypt.handshake.unanswered import Unanswered
from tcpcryptd.crypt.limits import CONFIRMATION_DELAYS
from tcpcryptd.crypt.protection.protection import Protection
from tcpcryptd.crypt.protection.session import Resumable, Session
from tcpcryptd.wire.segment import RST, SYN, Segment
from tcpcryptd.wire.sequence import add


class Unconfirmed(ProtocolState):
    """The peer has what it takes for the keys: the client after INIT2, and both ends after NEXTK2."""

    def __init__(
        self, context: HandshakeContext, session: Session, following: Resumable, *, sent: int = 0, received: int = 0
    ) -> None:
        """`sent`, `received`: bytes of handshake messages in each direction."""
        self._context = context
        self._connection = context.connection
        self._following = following
        authenticator = context.config.authenticator
        has_key = authenticator is not None and authenticator.host_key is not None
        self._proves = has_key and session.resumed and not self._connection.origin.active
        numbers = context.numbers(sent=sent, received=received)
        self.protection = Protection(
            self._connection,
            session,
            numbers,
            context.max_segment,
            ConnectionClass.STREAM if context.config.whole_packets else ConnectionClass.ENCRYPTED,
            peer_aware=context.peer_aware,
        )
        if context.config.key_log is not None:
            self.protection.log_keys = ConnectionKeyLog(
                context.config.key_log, session, context.local.isn, context.remote.isn, self._connection.origin
            ).add
            self.protection.log_keys(session.keys)

    def take_over(self) -> None:
        """Binds the handlers; from now on only sealed segments pass."""
        self._connection.transition(self, self.protection.outbound, self.inbound)
        self._connection.connection_class = ConnectionClass.ENCRYPTED

    def rest(self) -> None:
        """As an open connection does."""
        self.protection.rest()

    def describe(self) -> Description:
        """The session, though the peer has not confirmed it."""
        return self.protection.describe()

    def resets(self) -> list[Injection]:
        """As for an open connection."""
        return self.protection.resets()

    def translated(self, direction: Direction, error: Quoted) -> tuple[int, int | None] | None:
        """As of an open connection."""
        return self.protection.translated(direction, error)

    def undeliverable(self, now: float) -> bool:
        """The peer waits for what would show that this host has the keys."""
        self._connection.reset()
        return True

    def inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """Opens a segment; the first that is authentic ends this state."""
        verdict = self.protection.inbound(packet, offset, now)
        if self.protection.heard:
            # The segment goes on first.
            self._connection.afterwards(lambda: remember(self._connection, self._following, now))
            self.protection.take_over(now)
            self._connection.encrypted(now)
            self._connection.identified()
            if self._proves:
                self._confirm(now, 0)
        return verdict

    def _confirm(self, now: float, tries: int) -> None:
        """The peer has resumed, and knows this host by a sealed segment alone; nobody may have data to send."""

        def show_keys(later: float) -> None:
            if not self.protection.has_spoken:
                self.protection.send(self._context.acknowledgment(), later)
                if tries + 1 < len(CONFIRMATION_DELAYS):
                    self._confirm(later, tries + 1)

        self._connection.delay(now + CONFIRMATION_DELAYS[tries], show_keys)


class Init2Sent(Unconfirmed):
    """The server of an exchange: it sends INIT2 until the client's first authentic segment."""

    receive_smaller: Callable[[Segment, float], Verdict | None] | None = None
    """Answers another INIT1, in the place of one that was large; the verdict on it, None for any other segment."""

    def begin(self, init2: bytes, intervals: Sequence[float], unshifted: Injection, now: float) -> None:
        """Takes over, when INIT2 has gone out; `unshifted`: the reset for a client that has neither keys nor INIT2."""
        self._unshifted = unshifted
        self._sent = Retransmission(self._connection, init2, intervals, self._give_up)
        self._sent.start(now)
        self.take_over()
        self._connection.transition(self, self._outbound, self.inbound)

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """The original takes anything but INIT2 for the end of the handshake, and INIT2 after it for data."""
        if packet[offset + 13] & (SYN | RST):
            return self.protection.outbound(packet, offset, now)
        # The window is closed; what comes all the same is sent again by the kernel.
        self._connection.count("held_back")
        return DROP

    def resets(self) -> list[Injection]:
        """The client may have forgotten the connection, or have no daemon any more."""
        return [*super().resets(), self._unshifted]

    def inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """The same, but that a repeated INIT1 asks for INIT2."""
        segment = Segment(packet, offset)
        if option.find(option.read(segment), Opcode.INIT1) is not None:
            verdict = self.receive_smaller(segment, now) if self.receive_smaller is not None else None
            if verdict is not None:
                return verdict
            if segment.checksum_is_right and segment.sequence == add(self._context.remote.isn, 1):
                # INIT2 is many times as large as what asks for it.
                self._sent.repeat()
            return DROP
        return super().inbound(packet, offset, now)

    def undeliverable(self, now: float) -> bool:
        """The peer cannot have the keys: the connection goes on in clear, as it does for a peer that misses INIT2."""
        self._connection.cancel_timer()
        self._connection.connection_class = ConnectionClass.UNDECIDED
        Unanswered(self._context, "INIT2 could not be sent", mute=True).take_over_in_time()
        return True

    def _give_up(self, now: float) -> None:
        self._connection.count("init2_unanswered")
        self._connection.reset()
