"""Segments of an encrypted connection whose keys died with an earlier daemon.

They are never accepted. Both ends are reset, although nobody here knows by how much the wire's sequence numbers and the
kernel's differ: each end's acknowledgment number is what the *other* side of the border expects, so an exact RST
follows from a segment that is seen. An end that is silent is made to speak: an RST that lies inside its window without
being exact is answered with a challenge ACK (RFC 5961, section 3.2).
"""

from typing import Final

from tcpcryptd.core.connection import Connection
from tcpcryptd.core.protocol import ProtocolState
from tcpcryptd.core.verdict import DROP, ConnectionClass, Direction, Verdict, modify
from tcpcryptd.wire import options, sequence
from tcpcryptd.wire.fast_open import without_fast_open
from tcpcryptd.wire.segment import ACK, RST, Segment, make, reverse_key

_PROBE_DISTANCE: Final = 2048
"""Bytes: more than a handshake message of any suite shifts by, and less than any window that is not nearly closed."""


class Orphan(ProtocolState):
    """Drops every segment and resets both ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._syn: Segment | None = None
        self._exact: dict[Direction, bytes] = {}
        """The RST that each end obeys, if nothing has come there since, by the way to it."""
        connection.connection_class = ConnectionClass.ENCRYPTED

    def take_over(self, segment: Segment, direction: Direction, now: float) -> Verdict:
        """Binds the handlers; the verdict on the first segment."""
        self._connection.transition(self, self._outbound, self._inbound)
        self._connection.orphaned(now)
        return self._refuse(segment, direction, now)

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        return self._refuse(Segment(packet, offset), Direction.OUT, now)

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        return self._refuse(Segment(packet, offset), Direction.IN, now)

    def _deliver_syn(self, syn: Segment) -> Verdict:
        """Whoever sent it, the old connection lives until the kernel has opened a new one.

        Data must not get to an application before it is clear what becomes of that.
        """
        if not syn.checksum_is_right:
            return DROP
        self._syn = syn
        bare = syn.edited(option_area=options.pad(without_fast_open(syn)), payload=b"")
        return modify(bare, ConnectionClass.ENCRYPTED)

    def _refuse(self, segment: Segment, direction: Direction, now: float) -> Verdict:
        if segment.is_opening and direction is Direction.OUT:
            return self._connection.renew(segment, direction, now)
        if segment.is_opening:
            return self._deliver_syn(segment)
        if direction is Direction.OUT and self._syn is not None and segment.answers(self._syn):
            return self._connection.reopen(self._syn, segment, now)
        self._connection.count("orphaned_segments")
        onward = self._connection.key if direction is Direction.OUT else reverse_key(self._connection.key)
        if segment.flags & ACK and not segment.flags & RST:
            exact = make(
                reverse_key(onward),
                sequence=segment.acknowledgment,
                acknowledgment=segment.end,
                flags=RST | ACK,
                window=0,
            )
            self._connection.inject(direction.opposite, exact)
            self._exact[direction.opposite] = exact
        # In the place of the segment: so it passes where this host lets out nothing of the daemon's own.
        reset = self._exact.pop(direction, None) or make(
            onward,
            sequence=sequence.add(segment.end, _PROBE_DISTANCE),
            acknowledgment=segment.acknowledgment,
            flags=RST | ACK,
            window=0,
        )
        return modify(reset, ConnectionClass.ENCRYPTED)
