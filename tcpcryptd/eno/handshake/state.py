"""What the states of a handshake have in common."""

from tcpcryptd.core.handshake import KeylessState
from tcpcryptd.core.protocol import DROP, Action, Verdict, modify
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.init_messages import looks_like_init1
from tcpcryptd.eno.handshake.syn_data import without_data
from tcpcryptd.eno.syn import for_local_kernel
from tcpcryptd.wire.segment import Segment
from tcpcryptd.wire.sequence import add


class State(KeylessState):
    """Knows TCP-ENO's option and Init1."""

    def __init__(self, context: HandshakeContext) -> None:
        super().__init__(context)
        self._context = context

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
        if not self.is_for_the_kernel(syn):
            return DROP
        return modify(for_local_kernel(syn, self._connection.max_mss), self._connection.connection_class)

    def abort(self, counter: str) -> Verdict:
        """The peer breaks the protocol: resets the connection, which the application can tell from an end of file."""
        self._connection.count(counter)
        self._connection.reset()
        return DROP
