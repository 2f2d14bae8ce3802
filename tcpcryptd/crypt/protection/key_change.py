"""A change of keys toward a peer that answers as the original does (docs/crypt-option.md section 15).

It follows without announcing anything, and must not hear of the change twice while it has something unacknowledged. So
keys change when nothing is in flight in either direction: both kernels are kept from sending by the windows that they
see, one segment says REKEY, and all goes on when that is acknowledged. Numbers are extended, on the wire.
"""

import enum
from collections.abc import Callable
from typing import Final

from tcpcryptd.crypt.constants import MSS_REDUCTION, TIMESTAMP_AREA
from tcpcryptd.crypt.limits import DRAIN_PATIENCE, OLD_KEYS_LIFETIME, QUIET_TIME, REKEY_REPEATED_AFTER
from tcpcryptd.crypt.protection.flow import Flow
from tcpcryptd.crypt.protection.opener import Opener
from tcpcryptd.crypt.protection.sealer import Sealer
from tcpcryptd.crypt.protection.session import Keys
from tcpcryptd.wire.options import TIMESTAMP
from tcpcryptd.wire.segment import FIN, RST, SYN, Segment
from tcpcryptd.wire.sequence import MASK, extend

_CLOSING: Final = FIN | RST | SYN
_NEVER: Final = -1


class Stage(enum.Enum):
    """How far a change has come."""

    NONE = enum.auto()
    DRAINING = enum.auto()
    """What is in flight is acknowledged, and nothing new is sent."""
    ANNOUNCED = enum.auto()
    """A segment says REKEY, or has said it; the peer has not sent anything under the new keys."""


class KeyChange:
    """One connection's; it changes the windows of the segments that pass, and says which ones carry REKEY."""

    def __init__(
        self,
        flow: Flow,
        sealer: Sealer,
        opener: Opener,
        rekey_bytes: int,
        next_keys: Callable[[], Keys],
    ) -> None:
        """`next_keys` makes the next generation."""
        self.stage = Stage.NONE
        self._flow = flow
        self._connection = flow.connection
        self._numbers = flow.numbers
        self._sealer = sealer
        self._opener = opener
        self._rekey_bytes = rekey_bytes
        self._worn_after = rekey_bytes * 5 // 4
        """A peer that replaces its keys itself has begun before: it knows what is in flight, and need not wait."""
        self._allowance = max(rekey_bytes >> 6, 4096)
        """Bytes that the peer may have in flight until it has followed."""
        self._next_keys = next_keys
        self._began = 0.0
        self._edge: int | None = None
        """Up to where the peer may send: the right edge of the largest window that it has been shown."""
        self._quiet_at = _NEVER
        """How far the peer had sent when all began, if it did not seem to be sending."""
        self._settled: float | None = None
        """Seconds after which a peer that sends nothing new has nothing in flight: two round trips, if one was seen."""
        self._closed = False
        """Whether the peer was shown a smaller window than before."""
        self._answered = _NEVER
        """What the local kernel has acknowledged."""
        self._new = 0.0
        """When something new came from the peer last."""
        self._said_at = 0.0
        self._said_to = _NEVER
        """How far the peer had sent when REKEY left last: it may be said again as long as nothing new comes."""
        self._heard = False
        self._spent = False

    @property
    def spent_at(self) -> int:
        """Up to where the peer's keystream does not repeat."""
        return self._flow.receive_started + 2 * self._rekey_bytes

    @property
    def moved(self) -> bool:
        """Whether the peer is known to open with the new keys."""
        return self._flow.acknowledged > self._flow.send_started

    def wear(self, now: float) -> None:
        """The peer has used its keys for long: it may not send more than they bear, and new ones begin in time."""
        flow = self._flow
        if flow.receive_next >= flow.receive_started + self._worn_after:
            self.begin(now, quiet=False)
        elif self.stage is Stage.NONE:
            self._sealer.watch(True)

    def begin(self, now: float, *, quiet: bool) -> None:
        """Waits for the right moment; `quiet`: the peer is not in the middle of sending, for all that we know."""
        if self.stage is not Stage.NONE or (not quiet and self._is_near_wrap):
            return
        self.stage = Stage.DRAINING
        self._began = self._new = now
        self._settled = QUIET_TIME if self._is_acknowledged else None
        self._closed = False
        self._edge = None
        self._quiet_at = self._flow.receive_next if quiet else _NEVER
        self._answered = self._flow.receive_next
        self._sealer.watch(True)
        self._opener.changing = True

    def end(self) -> None:
        """Both sides have new keys, or the change has to wait."""
        self.stage = Stage.NONE
        self._opener.changing = False
        self._opener.awaited = None
        self._sealer.announced()

    def outgoing(self, segment: Segment, extended: int, now: float) -> Segment:
        """A segment of the local kernel's as the peer may see it; with the right one, the new keys begin."""
        flow = self._flow
        if segment.flags & (RST | SYN):
            return segment
        acknowledgment = segment.acknowledgment + self._numbers.received_shift & MASK
        acknowledged = extend(acknowledgment, flow.receive_next)
        self._answered = acknowledged
        scale = self._numbers.sent_scale
        limit = self.spent_at - self._rekey_bytes // 4
        if self.stage is Stage.DRAINING:
            if self._edge is None:
                self._began = now
                self._edge = min(acknowledged + (segment.window << scale), limit)
            elif now - self._began >= DRAIN_PATIENCE:
                # It sends too slowly to fill its window. That it stops shows in time only.
                self._edge, self._closed = flow.receive_next, True
            if self._is_moment(segment, extended, acknowledged):
                if self._is_near_wrap and not self._is_quiet:
                    self.end()
                    return segment
                self._announce(now)
        edge = limit if self.stage is Stage.NONE else self._edge
        if self.stage is Stage.ANNOUNCED or edge is None:
            # The peer goes on with its old keys until it has an acknowledgment of ours under the new ones.
            limit = self.spent_at - self._rekey_bytes // 16
            edge = min(acknowledged + self._allowance, limit)
            self._spent |= edge == limit
        window = min(segment.window, max(edge - acknowledged, 0) >> scale)
        return segment if window == segment.window else Segment(segment.edited(window=window), segment.offset)

    def incoming(self, packet: bytes, offset: int, extended: int, length: int, before: int) -> bytes:
        """A segment for the local kernel, with the window that it may see; `before`: how far the peer had sent."""
        flow = self._flow
        self._heard = True
        now = self._connection.last_seen
        if flow.receive_next != before:
            self._new = now
        if self.stage is Stage.DRAINING:
            if self._settled is None and self._is_acknowledged:
                self._settled = max(QUIET_TIME, 2 * (now - self._began))
            complete = flow.receive_next in (self._answered, extended + length) and extended <= self._answered
            grant = complete and self._is_drained()
        elif self.moved:
            self._sealer.forget_previous_keys()
            return packet
        else:
            if extended < before and flow.receive_next == before and now - self._said_at >= REKEY_REPEATED_AFTER:
                # It has not got what we acknowledged after REKEY, so it has not got that either.
                self._said_to = flow.receive_next
            grant = flow.send_next == flow.send_started
        segment = Segment(packet, offset)
        acknowledged = extend(segment.acknowledgment + self._numbers.sent_shift & MASK, flow.send_next)
        scale = self._numbers.received_scale
        window = max(flow.send_next - acknowledged, 0) >> scale
        if grant:
            # One segment, which will say REKEY.
            size = self._sealer.max_payload - MSS_REDUCTION - (TIMESTAMP_AREA if segment.option(TIMESTAMP) else 0)
            window += -(-size >> scale)
        window = min(segment.window, window)
        return packet if window == segment.window else segment.edited(window=window)

    def says(self, *, data: bool, repeated: bool) -> bool:
        """Whether the segment at the start of the new keys says REKEY; `repeated`: its data was sent before."""
        flow = self._flow
        now = self._connection.last_seen
        if self.moved or (not repeated and self._said_to not in (_NEVER, flow.receive_next)):
            return False
        if not data and self._said_to != _NEVER and now - self._said_at < REKEY_REPEATED_AFTER:
            return False
        self._said_at = now
        self._said_to = flow.receive_next
        return True

    def exhausted(self) -> None:
        """Something was not sent since the keys cannot bear more."""
        self._spent = True

    @property
    def _is_acknowledged(self) -> bool:
        flow = self._flow
        return flow.acknowledged >= flow.send_next

    @property
    def _is_near_wrap(self) -> bool:
        """A peer that sends must go on first: it compares numbers as if they did not wrap."""
        return self._flow.receive_next & MASK > MASK - 2 * self._allowance

    def _is_drained(self) -> bool:
        """Whether nothing of ours is in flight, and nothing of the peer's either once all that came is acknowledged."""
        if not self._is_acknowledged:
            return False
        return self._is_quiet or (self._edge is not None and self._flow.receive_next >= self._edge and not self._closed)

    @property
    def _is_quiet(self) -> bool:
        settled = self._settled is not None and self._connection.last_seen - self._new >= self._settled
        return settled or self._flow.receive_next == self._quiet_at

    def _is_moment(self, segment: Segment, extended: int, acknowledged: int) -> bool:
        """Whether new keys can begin with this segment."""
        flow = self._flow
        if segment.flags & _CLOSING or extended != flow.send_next or acknowledged != flow.receive_next:
            return False
        return self._is_drained() and not (extended + segment.payload_length ^ extended) >> 32

    def _announce(self, now: float) -> None:
        self.stage = Stage.ANNOUNCED
        self._said_to = _NEVER
        self._heard = self._spent = False
        keys = self._next_keys()
        self._opener.awaited = keys
        self._sealer.begin_generation(keys, announce=True)
        self._connection.set_timer(now + OLD_KEYS_LIFETIME, self._check)

    def _check(self, now: float) -> None:
        """A peer that is there, and does not take the new keys although the old ones are used up, never will."""
        if self.stage is not Stage.ANNOUNCED:
            return
        if self._spent and self._heard:
            self._connection.count("keys_not_replaced")
            self._connection.reset()
            return
        self._heard = False
        self._connection.set_timer(now + OLD_KEYS_LIFETIME, self._check)
