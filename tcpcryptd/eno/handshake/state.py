"""What the states of a handshake have in common."""

from tcpcryptd.core.protocol import ACCEPT, DROP, Action, Direction, Injection, ProtocolState, Verdict, modify
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.init_messages import looks_like_init1
from tcpcryptd.eno.handshake.syn_data import without_data
from tcpcryptd.eno.limits import MAX_HELD
from tcpcryptd.eno.syn import for_local_kernel
from tcpcryptd.wire.segment import FIN, PSH, RST, SYN, Segment
from tcpcryptd.wire.sequence import add
from tcpcryptd.wire.syn import refusal


class State(ProtocolState):
    """A state without keys: neither kernel has sent data."""

    def __init__(self, context: HandshakeContext) -> None:
        self._context = context
        self._ends = context.ends
        self._connection = context.connection
        self._other_syn: Segment | None = None

    def resets(self) -> list[Injection]:
        """For what the two kernels have sent so far: their SYNs."""
        outbound, inbound = self._ends.resets()
        return [(Direction.OUT, outbound), (Direction.IN, inbound)]

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
        self._context.saw(segment, Direction.OUT, now)
        if not segment.payload_length and not segment.flags & FIN:
            return segment
        self._connection.count("held_back")
        self._context.held = segment.packet if len(segment.packet) <= MAX_HELD else None
        return Segment(segment.edited(flags=segment.flags & ~(FIN | PSH), payload=b""), segment.offset)

    def may_be_init1(self, segment: Segment) -> bool:
        """Whether the peer's data may be of an Init1: its beginning, or what stands behind data that has not come."""
        if segment.sequence != add(self._ends.remote.isn, 1):
            return segment.payload_length > 0
        return looks_like_init1(segment.payload)

    def leave_plain(self, syn: Segment, reason: str) -> Verdict:
        """The verdict on a SYN or SYN ACK of the peer's after which the connection goes on in clear."""
        bare = without_data(syn)
        verdict = self._connection.decide_plain(reason)
        return verdict if verdict[0] is Action.DROP or bare is None else modify(bare, verdict[2])

    def repeated_syn(self, syn: Segment) -> Verdict:
        """The peer's SYN again, or one with another sequence number, perhaps forged: the kernel decides."""
        if not syn.checksum_is_right or refusal(syn) is not None:
            return DROP
        if syn.sequence != self._ends.remote.isn:
            self._other_syn = syn
        return modify(for_local_kernel(syn, self._connection.max_mss), self._connection.connection_class)

    def answers_other_syn(self, syn_ack: Segment, now: float) -> Verdict | None:
        """The verdict on the kernel's SYN ACK for that SYN: a new connection; None: it is for the first one."""
        if self._other_syn is None or not syn_ack.answers(self._other_syn):
            return None
        return self._connection.reopen(self._other_syn, syn_ack, now)

    def abort(self, counter: str) -> Verdict:
        """The peer breaks the protocol: resets the connection, which the application can tell from an end of file."""
        self._connection.count(counter)
        self._connection.reset()
        return DROP
