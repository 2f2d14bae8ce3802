"""What the handshakes of all protocols have in common: the two ends, and states without keys."""

from collections.abc import Callable

from tcpcryptd.core.limits import MAX_HELD
from tcpcryptd.core.protocol import (
    ACCEPT,
    DROP,
    ConnectionHandle,
    Direction,
    Injection,
    PeerIdentity,
    ProtocolState,
    Quoted,
    Verdict,
)
from tcpcryptd.wire.segment import FIN, PSH, RST, SYN, Segment
from tcpcryptd.wire.sequence import add
from tcpcryptd.wire.syn import Ends, refusal


class CommonContext:
    """A connection and its two ends, as their SYNs described them."""

    def __init__(self, connection: ConnectionHandle) -> None:
        self.connection = connection
        self.ends = Ends(connection.key)
        self.held: bytes | None = None
        """The packet with the first bytes that the local kernel has sent before there were keys."""

    def saw(self, segment: Segment, direction: Direction, now: float) -> None:
        """Keeps the timestamp that a segment carries."""
        self.connection.last_seen = now
        self.ends.saw(segment, outbound=direction is Direction.OUT)

    def resets(self, sent: int = 0) -> list[Injection]:
        """RST segments for both kernels, which have not exchanged data yet; the peer's may have seen `sent` bytes."""
        outbound, inbound = self.ends.resets(sent)
        return [(Direction.OUT, outbound), (Direction.IN, inbound)]


class KeylessState(ProtocolState):
    """A state without keys: nothing is agreed, and neither kernel has sent data."""

    def __init__(self, common: CommonContext) -> None:
        self._common = common
        self._ends = common.ends
        self._connection = common.connection
        self._other_syn: Segment | None = None

    def resets(self) -> list[Injection]:
        """For what the two kernels have sent so far: their SYNs."""
        return self._common.resets()

    def first_ack(self, segment: Segment, now: float) -> Segment | Verdict:
        """The local kernel's ACK of the SYN ACK, which can carry our option; or the verdict on what else it sends.

        A kernel whose SYN had data sends that in the place of the ACK, also into a closed window (RFC 7413 section 3):
        it is cut off here and waits for the keys.
        """
        if segment.flags & RST:
            return ACCEPT
        if segment.is_opening and segment.sequence != self._ends.local.isn:
            return self._connection.renew(segment, Direction.OUT, now)
        if segment.flags & SYN or segment.sequence != add(self._ends.local.isn, 1):
            # The window is closed; what comes all the same is sent again by the kernel.
            self._connection.count("held_back")
            return DROP
        self._common.saw(segment, Direction.OUT, now)
        if not segment.payload_length and not segment.flags & FIN:
            return segment
        self._connection.count("held_back")
        self._common.held = segment.packet if len(segment.packet) <= MAX_HELD else None
        return Segment(segment.edited(flags=segment.flags & ~(FIN | PSH), payload=b""), segment.offset)

    def is_for_the_kernel(self, syn: Segment) -> bool:
        """Whether the kernel decides about the peer's SYN that has come again, or another one, perhaps forged."""
        if not syn.checksum_is_right or refusal(syn) is not None:
            return False
        if syn.sequence != self._ends.remote.isn:
            self._other_syn = syn
        return True

    def begins_another(self, segment: Segment, now: float) -> Verdict | None:
        """The verdict on the local kernel's SYN or SYN ACK of a new connection; None: it is of this one."""
        if segment.is_opening:
            return self._connection.renew(segment, Direction.OUT, now)
        return self.answers_other_syn(segment, now)

    def answers_other_syn(self, syn_ack: Segment, now: float) -> Verdict | None:
        """The verdict on the kernel's SYN ACK for that SYN: a new connection; None: it is for the first one."""
        if self._other_syn is None or not syn_ack.answers(self._other_syn):
            return None
        return self._connection.reopen(self._other_syn, syn_ack, now)


class KeysDue(ProtocolState):
    """The other side goes on with what is on its way to it; the keys are made meanwhile, and the peer's proof verified.

    That happens when the packets at hand and the injections have gone out, and in any case before anything else of the
    connection: no segment is looked at before.
    """

    def __init__(
        self,
        connection: ConnectionHandle,
        make_keys: Callable[[], ProtocolState],
        judge: Callable[[], PeerIdentity] | None = None,
    ) -> None:
        """Get ready.

        Args:
            connection: Its class is what it will be.
            make_keys: Has the next state take over, and returns it.
            judge: Finds out before who the peer is, and gives the connection its identity; None: nothing is to be
                found out.
        """
        self._connection = connection
        self._judge = judge
        self._make_keys = make_keys

    def take_over(self, now: float) -> None:
        """Binds the handlers."""
        self._connection.transition(self, self._outbound, self._inbound)
        self._connection.set_timer(now, self._in_time)

    def resets(self) -> list[Injection]:
        """With the keys that the peer has by then. Who it is does not matter any more."""
        return self._make_keys().resets()

    def settle(self) -> None:
        """Who has a connection already may ask whether it is encrypted."""
        self._finished()

    def undeliverable(self, now: float) -> bool:
        """What was sent was refused."""
        following = self._finished()
        return following is None or following.undeliverable(now)

    def translated(self, direction: Direction, error: Quoted) -> tuple[int, int | None] | None:
        """It was too large for a link."""
        following = self._finished()
        return following.translated(direction, error) if following is not None else None

    def _finished(self) -> ProtocolState | None:
        """The next state, which has taken over; None: the peer was refused."""
        # What follows need not set another one in its place.
        self._connection.cancel_timer()
        identity = self._judge() if self._judge is not None else None
        following = self._make_keys()
        if identity is None or identity.suits(must_authenticate=self._connection.must_authenticate):
            return following
        # Only now, when there is what resets the peer.
        self._connection.refuse(identity.reason)
        return None

    def _in_time(self, now: float) -> None:
        self._finished()

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        return DROP if self._finished() is None else self._connection.outbound(packet, offset, now)

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        return DROP if self._finished() is None else self._connection.inbound(packet, offset, now)
