"""The incoming direction of an encrypted connection (docs/crypt-option.md sections 3, 5, 6 and 9).

`inbound` runs once for every segment; rare cases have methods of their own. Sequence numbers with the name
`extended` count on where 32 bits wrap.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from tcpcryptd.core.protocol import DROP, Action, Direction, Verdict
from tcpcryptd.crypt.constants import CRYPT, MAC, TIMESTAMP_AREA, UNAUTHENTICATED_OPTIONS
from tcpcryptd.crypt.protection.flow import RARE, TIMESTAMP_PREFIX, Change, Flow
from tcpcryptd.crypt.protection.pieces import authenticated_header
from tcpcryptd.crypt.protection.session import Keys
from tcpcryptd.wire import options
from tcpcryptd.wire.checksum import ones_complement_sum
from tcpcryptd.wire.header import replaced
from tcpcryptd.wire.segment import FIN, SYN, MalformedPacket, Segment
from tcpcryptd.wire.sequence import MASK, extend
from tcpcryptd.wire.words import uint16, uint32

_UNBOUNDED: Final = 1 << 62
_ANNOUNCEMENT: Final = bytes((CRYPT,))

Open = Callable[[int, bytes, bytes, bytes, bytes, bytes], bytes | None]
"""SegmentProtection.open of one key."""


class Successor(NamedTuple):
    """Keys that a segment announces."""

    open: Open
    started: int
    """Extended, on the wire: where they begin."""


class Opener:
    """Verifies, deciphers and shifts back segments from the wire."""

    def __init__(
        self,
        flow: Flow,
        keys: Keys,
        unusual: Callable[[Segment, float], Verdict],
        announced: Callable[[], None],
    ) -> None:
        """Open what comes of a connection.

        Args:
            flow: The connection.
            keys: The first generation.
            unusual: Takes the segments whose MAC is not where it mostly is, or that have none.
            announced: Called when the peer has shown that it has the keys that are announced.
        """
        self._flow = flow
        self._connection = flow.connection
        self._shift = flow.numbers.received_shift
        self._acknowledgment_shift = flow.numbers.sent_shift
        self._unusual = unusual
        self._announced = announced
        self.finished = False
        """Whether FIN was received, which takes a sequence number."""
        self.heard = False
        """Whether an authentic segment has come in."""
        self.open: Open = keys.incoming.open
        self.open_before: Open | None = None
        self.change: Change | None = None
        self.changing = False
        """Whether `change` is to see what comes in."""
        self.awaited: Keys | None = None
        """Keys that the peer will begin to use without a word."""
        self.wear: Callable[[], bool]
        """Called when the peer's keys wear out; whether the connection is lost."""
        self.upcoming: Callable[[], Keys | None]
        """The keys that a peer may begin to use although nobody has said so here: what says it can be lost, or late."""
        self.follow: Callable[[Keys, int], None]
        """Called when it has, with the extended number."""
        self._worn_after = keys.suite.rekey_bytes // 2 if keys.suite.quiet_rekeying else _UNBOUNDED
        self._worn_at = flow.receive_started + self._worn_after
        tag_length = keys.suite.tag_length
        self._tag_length = tag_length
        self._mac_prefix = bytes((MAC, tag_length + 2))
        self._mac_space = tag_length + 2 + (-(tag_length + 2) & 3)

    def begin_generation(self, keys: Keys, started: int) -> None:
        """The peer seals what is new from the extended number `started` on with these keys."""
        flow = self._flow
        self.open_before = self.open
        self.open = keys.incoming.open
        flow.receive_generation = keys.generation
        flow.receive_started = started
        self._worn_at = started + self._worn_after

    def forget_previous_keys(self) -> None:
        """Forgets the keys of the generation before: segments sealed with them are no longer accepted."""
        self.open_before = None

    def inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """A segment from the wire."""
        start = offset + (packet[offset + 12] >> 4) * 4
        if not offset + 20 <= start <= len(packet):
            raise MalformedPacket("TCP data offset")
        area = packet[offset + 20 : start]
        mac = len(area) - self._mac_space
        if area[mac : mac + 2] != self._mac_prefix or (
            mac != 0 and (mac != TIMESTAMP_AREA or area[:4] != TIMESTAMP_PREFIX)
        ):
            return self._unusual(Segment(packet, offset), now)
        return self.opened(packet, offset, area[mac + 2 : mac + 2 + self._tag_length], b"", now, None, area[:mac])

    def opened(
        self,
        packet: bytes,
        offset: int,
        tag: bytes,
        covered: bytes,
        now: float,
        successor: Successor | None = None,
        area: bytes | None = None,
    ) -> Verdict:
        """The verdict on a segment with a MAC; `covered` are the options that enter it.

        `area`: the options for the local kernel, which has a shorter way for headers without any that it does not know;
        None: as they are, since it skips those.
        """
        flow = self._flow
        data_offset, flags = packet[offset + 12] >> 4, packet[offset + 13]
        sequence, acknowledgment = uint32(packet, offset + 4), uint32(packet, offset + 8)
        start = offset + data_offset * 4
        length = len(packet) - offset
        payload = packet[start:]
        header_sum = flow.address_sum + length + ones_complement_sum(packet[offset:start])
        if (header_sum + ones_complement_sum(payload)) % 65535:
            self._connection.count("bad_checksum")
            return DROP
        extended = extend(sequence, flow.receive_next)
        number = extended & flow.mask
        extended_acknowledgment = extend(acknowledgment, flow.send_next)
        open_segment = self.open if extended >= flow.receive_started else self.open_before or self.open
        if successor is not None and extended >= successor.started:
            open_segment = successor.open
        header = authenticated_header(length, data_offset, flags, uint16(packet, offset + 18), number)
        covered_acknowledgment = (extended_acknowledgment & flow.mask).to_bytes(8, "big")
        plaintext = open_segment(number, header, covered_acknowledgment, covered, payload, tag)
        regular = plaintext is not None
        if plaintext is None:
            protected = (number, header, covered_acknowledgment, covered, payload, tag)
            plaintext = self._opened_with_other_keys(extended, protected, successor)
        if plaintext is None or flags & SYN:
            self._connection.report_integrity_failure()
            return DROP
        self._connection.last_seen = now
        if flags & RARE:
            self._connection.saw_closing(flags, Direction.IN, now)
            self.finished |= bool(flags & FIN)
        self.heard = True
        before = flow.receive_next
        flow.acknowledged = max(flow.acknowledged, extended_acknowledgment)
        flow.receive_next = max(before, extended + len(plaintext) + (flags & FIN))
        if flow.receive_next >= self._worn_at and self.wear():
            return DROP
        shifted = self._shifted_back(packet, offset, start, plaintext, area)
        if self.change is not None:
            if self.changing:
                shifted = self.change.incoming(shifted, offset, extended, len(plaintext), before)
        elif flow.announcing and regular:
            self._check_announcement(extended, covered)
        return Action.MODIFY, shifted, flow.connection_class

    def _shifted_back(self, packet: bytes, offset: int, start: int, plaintext: bytes, area: bytes | None) -> bytes:
        """The packet in the local kernel's numbers, with another payload; `area`: see `opened`."""
        shifted = uint32(packet, offset + 4) - self._shift & MASK
        acknowledgment = uint32(packet, offset + 8) - self._acknowledgment_shift & MASK
        if area is None:
            area = packet[offset + 20 : start]
        sums = self._flow.address_sum + ones_complement_sum(area) + ones_complement_sum(plaintext)
        fields = shifted, acknowledgment, int(packet[offset + 13]), uint16(packet, offset + 18)
        return replaced(packet, offset, fields, area, plaintext, sums)

    def _opened_with_other_keys(
        self, extended: int, protected: tuple[int, bytes, bytes, bytes, bytes, bytes], successor: Successor | None
    ) -> bytes | None:
        """The plaintext of a segment near a change of keys that does not follow the rule."""
        flow = self._flow
        if successor is not None and extended < successor.started:
            # The peer has forgotten the keys that are current here, before we learnt of the next ones; or only those
            # before, when it fills a hole from before these began.
            plaintext = successor.open(*protected)
            return self.open(*protected) if plaintext is None and extended < flow.receive_started else plaintext
        if self.change is not None:
            return self._opened_unannounced(extended, protected)
        if self.open_before is None:
            return None
        if extended < flow.receive_started:
            # The peer has forgotten the keys of the generation before.
            return self.open(*protected)
        if extended == flow.receive_started and not protected[4]:
            # An ACK that left just before the keys changed at its number, and was overtaken.
            return self.open_before(*protected)
        return None

    def _opened_unannounced(
        self, extended: int, protected: tuple[int, bytes, bytes, bytes, bytes, bytes]
    ) -> bytes | None:
        """The same when the peer need not say where its keys begin."""
        flow = self._flow
        if self.open_before is not None:
            below = extended < flow.receive_started
            plaintext = (self.open if below else self.open_before)(*protected)
            if plaintext is not None:
                if plaintext and below:
                    flow.receive_started = extended
                return plaintext
        keys = self.awaited or self.upcoming()
        plaintext = None if keys is None else keys.incoming.open(*protected)
        if plaintext is not None and keys is not None:
            self.follow(keys, extended)
        return plaintext

    def _check_announcement(self, extended: int, covered: bytes) -> None:
        """Whether the peer has shown that it knows our current keys.

        It has when it acknowledges what was sealed with them, and when it ends its own announcement of the same
        generation: it does that only after an acknowledgment of ours, which was sealed with them as well.
        """
        flow = self._flow
        if flow.acknowledged > flow.send_started or (
            not covered.startswith(_ANNOUNCEMENT)
            and flow.receive_generation == flow.send_generation
            and extended >= flow.receive_started
        ):
            self._announced()


def find_mac(segment: Segment) -> tuple[bytes | None, bytes]:
    """The MAC option's value, and the options that enter the MAC (docs/crypt-option.md section 6)."""
    covered = b"".join(options.encode(*entry) for entry in segment.options if entry[0] not in UNAUTHENTICATED_OPTIONS)
    return segment.option(MAC), covered
