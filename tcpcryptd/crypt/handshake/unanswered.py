"""The peer has not answered INIT1 or PKCONF: the connection goes on in clear, unless the peer turns out to have keys.

What was sent may only have been late: it can wait in a queue of the peer's for longer than this host sends it again.
Until the peer has answered a segment that went in clear, its messages must not be taken for the application's data. Nor
is the connection encrypted after all when they come: some of it has been in clear on the wire.
"""

from collections.abc import Collection

from tcpcryptd.core.protocol import ACCEPT, DROP, Direction, Injection, Verdict, modify
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import CRYPT, MAC, Opcode
from tcpcryptd.crypt.handshake.context import HandshakeContext
from tcpcryptd.crypt.handshake.messages import Init2, MessageError
from tcpcryptd.crypt.handshake.state import HandshakeState
from tcpcryptd.wire.segment import FIN, RST, SYN, Segment, locate
from tcpcryptd.wire.sequence import add


class Unanswered(HandshakeState):
    """Both kernels may send data."""

    def __init__(
        self, context: HandshakeContext, reason: str, lengths: Collection[int] = (0,), *, mute: bool = False
    ) -> None:
        """`lengths`: bytes of each INIT1 that the peer may have taken. `mute`: only the kernel can answer it."""
        super().__init__(context)
        self._mute = mute
        self._reason = reason
        self._lengths = lengths
        self._sent_plain = 0
        """How much sequence space the kernel has used after its SYN: no peer acknowledges more."""

    def take_over(self) -> Verdict:
        """Binds the handlers, unless the connection must not be plain; the verdict on an ACK that shows that it is."""
        if self._connection.must_encrypt:
            return self._connection.decide_plain(self._reason)
        self._connection.transition(self, self._outbound, self._inbound)
        held = self._context.held
        if held is not None:
            # The kernel has sent it again so often that it would now wait for seconds.
            self._sent_plain = self._ahead(Segment(held, locate(held)[0]).end)
            self._connection.inject(Direction.OUT, held)
        return ACCEPT

    def take_over_in_time(self) -> None:
        """The same when nothing has come."""
        if self.take_over() == ACCEPT:
            # The ACK of the peer's SYN ACK, and the window that was kept from our kernel.
            self._connection.inject(Direction.OUT, self._context.acknowledgment())
            self._connection.inject(Direction.IN, self._context.make(Direction.IN))

    def resets(self) -> list[Injection]:
        """The peer may have accepted INIT1 or not."""
        taken = [self._context.resets(length)[0] for length in self._lengths]
        return taken + [reset for reset in super().resets() if reset not in taken]

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        verdict = self.begins_another(segment, now)
        if verdict is not None:
            return verdict
        self._sent_plain = max(self._sent_plain, self._ahead(segment.end))
        return ACCEPT

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.flags & RST or not segment.checksum_is_right:
            return ACCEPT
        if segment.is_opening:
            return self._repeated_syn(segment)
        if segment.flags & SYN:
            return ACCEPT
        acknowledged, is_first = self._ahead(segment.acknowledgment), self._is_first(segment)
        took_it = is_first and acknowledged in self._lengths
        is_init2 = option.find(option.read(segment), Opcode.INIT2) is not None and took_it
        if is_init2 or any(length and self._context.is_sealed(segment, length) for length in self._lengths):
            self._connection.count("late_init2" if is_init2 else "init2_lost")
            self._connection.reset()
            return DROP
        if self._mute and is_first and option.find(option.read(segment), Opcode.INIT1) is not None:
            # What the kernel has seen already makes it acknowledge: the peer sees that INIT1 was not taken.
            return modify(segment.edited(sequence=add(segment.sequence, -1), payload=b""))
        if segment.option(CRYPT) is not None or segment.option(MAC) is not None or _looks_like_init2(segment.payload):
            self._connection.count("stray")
            return DROP
        if not is_first or not 0 <= acknowledged <= self._sent_plain:
            # Perhaps of somebody who does not see the connection: the kernel knows what to do with it.
            return ACCEPT
        if segment.payload_length or segment.flags & FIN or (acknowledged and not took_it):
            return self._connection.decide_plain(self._reason)
        # A peer that took INIT1 may send the same number, if its MAC was lost on the way.
        return ACCEPT


def _looks_like_init2(payload: bytes) -> bool:
    """Whether a payload is an INIT2 that has lost its option on the way."""
    try:
        Init2.decode(payload)
    except MessageError:
        return False
    return True
