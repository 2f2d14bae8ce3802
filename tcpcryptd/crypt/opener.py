"""The incoming direction of an encrypted connection (docs/crypt-option.md sections 3, 5, 6 and 9).

`inbound` runs once for every segment; what is rare stands in methods of its own. Sequence numbers with the name
`extended` count on where 32 bits wrap.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from tcpcryptd.core.protocol import DROP, Action, Connection, Direction, Verdict
from tcpcryptd.crypt.constants import CRYPT, MAC, TIMESTAMP_AREA, UNAUTHENTICATED_OPTIONS
from tcpcryptd.crypt.numbers import Numbers
from tcpcryptd.crypt.pieces import authenticated_header
from tcpcryptd.crypt.sealer import RARE, TIMESTAMP_PREFIX, Sealer
from tcpcryptd.crypt.session import Keys
from tcpcryptd.wire import options
from tcpcryptd.wire.checksum import address_sum, ones_complement_sum
from tcpcryptd.wire.header import replaced
from tcpcryptd.wire.segment import FIN, SYN, MalformedPacket, Segment
from tcpcryptd.wire.sequence import MASK, extend
from tcpcryptd.wire.words import uint16, uint32

if TYPE_CHECKING:
    from tcpcryptd.crypt.key_change import KeyChange

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
    """Verifies, deciphers and shifts back what comes from the wire."""

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        numbers: Numbers,
        sealer: Sealer,
        unusual: Callable[[Segment, float], Verdict],
    ) -> None:
        """`unusual` takes the segments whose MAC is not where it mostly is, or that have none."""
        self._connection = connection
        self._shift = numbers.received_shift
        self._acknowledgment_shift = numbers.sent_shift
        self._sealer = sealer
        self._unusual = unusual
        self._class = sealer.connection_class
        self._mask = sealer.mask
        self._address_sum = address_sum(connection.key[:-4])
        self.first = self.next = numbers.receive_next
        """Extended, on the wire: of the first byte, and of what follows the last byte or FIN that was received."""
        self.finished = False
        """Whether FIN was received, which takes a sequence number."""
        self.heard = False
        """Whether an authentic segment has come in."""
        self.acknowledged = numbers.send_next
        """Extended, on the wire: the highest number that the peer has acknowledged."""
        self.generation = keys.generation
        self.started = numbers.receive_next
        """Extended: where the current keys begin. What comes before keeps the generation before."""
        self.open: Open = keys.incoming.open
        self.open_before: Open | None = None
        self.change: KeyChange | None = None
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
        self._worn_at = self.started + self._worn_after
        tag_length = keys.suite.tag_length
        self._tag_length = tag_length
        self._mac_prefix = bytes((MAC, tag_length + 2))
        self._mac_space = tag_length + 2 + (-(tag_length + 2) & 3)

    def begin_generation(self, keys: Keys, started: int) -> None:
        """The peer seals what is new from the extended number `started` on with these keys."""
        self.open_before = self.open
        self.open = keys.incoming.open
        self.generation = keys.generation
        self.started = started
        self._worn_at = started + self._worn_after

    def forget_previous_keys(self) -> None:
        """What was sealed with the generation before is not accepted any more."""
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
        data_offset, flags = packet[offset + 12] >> 4, packet[offset + 13]
        sequence, acknowledgment = uint32(packet, offset + 4), uint32(packet, offset + 8)
        start = offset + data_offset * 4
        length = len(packet) - offset
        payload = packet[start:]
        header_sum = self._address_sum + length + ones_complement_sum(packet[offset:start])
        if (header_sum + ones_complement_sum(payload)) % 65535:
            self._connection.count("bad_checksum")
            return DROP
        extended = extend(sequence, self.next)
        number = extended & self._mask
        extended_acknowledgment = extend(acknowledgment, self._sealer.next)
        open_segment = self.open if extended >= self.started else self.open_before or self.open
        if successor is not None and extended >= successor.started:
            open_segment = successor.open
        header = authenticated_header(length, data_offset, flags, uint16(packet, offset + 18), number)
        covered_acknowledgment = (extended_acknowledgment & self._mask).to_bytes(8, "big")
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
        before = self.next
        self.acknowledged = max(self.acknowledged, extended_acknowledgment)
        self.next = max(before, extended + len(plaintext) + (flags & FIN))
        if self.next >= self._worn_at and self.wear():
            return DROP
        shifted = self._shifted_back(packet, offset, start, plaintext, area)
        if self.change is not None:
            if self.changing:
                shifted = self.change.incoming(shifted, offset, extended, len(plaintext), before)
        elif self._sealer.announcing and regular:
            self._check_announcement(extended, covered)
        return Action.MODIFY, shifted, self._class

    def _shifted_back(self, packet: bytes, offset: int, start: int, plaintext: bytes, area: bytes | None) -> bytes:
        """The packet in the local kernel's numbers, with another payload; `area`: see `opened`."""
        shifted = uint32(packet, offset + 4) - self._shift & MASK
        acknowledgment = uint32(packet, offset + 8) - self._acknowledgment_shift & MASK
        if area is None:
            area = packet[offset + 20 : start]
        sums = self._address_sum + ones_complement_sum(area) + ones_complement_sum(plaintext)
        fields = shifted, acknowledgment, int(packet[offset + 13]), uint16(packet, offset + 18)
        return replaced(packet, offset, fields, area, plaintext, sums)

    def _opened_with_other_keys(
        self, extended: int, protected: tuple[int, bytes, bytes, bytes, bytes, bytes], successor: Successor | None
    ) -> bytes | None:
        """The plaintext of a segment near a change of keys that does not follow the rule."""
        if successor is not None and extended < successor.started:
            # The peer has forgotten the keys that are current here, before we learnt of the next ones; or only those
            # before, when it fills a hole from before these began.
            plaintext = successor.open(*protected)
            return self.open(*protected) if plaintext is None and extended < self.started else plaintext
        if self.change is not None:
            return self._opened_unannounced(extended, protected)
        if self.open_before is None:
            return None
        if extended < self.started:
            # The peer has forgotten the keys of the generation before.
            return self.open(*protected)
        if extended == self.started and not protected[4]:
            # An ACK that left just before the keys changed at its number, and was overtaken.
            return self.open_before(*protected)
        return None

    def _opened_unannounced(
        self, extended: int, protected: tuple[int, bytes, bytes, bytes, bytes, bytes]
    ) -> bytes | None:
        """The same when the peer need not say where its keys begin."""
        if self.open_before is not None:
            below = extended < self.started
            plaintext = (self.open if below else self.open_before)(*protected)
            if plaintext is not None:
                if plaintext and below:
                    self.started = extended
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
        sealer = self._sealer
        if self.acknowledged > sealer.started or (
            not covered.startswith(_ANNOUNCEMENT) and self.generation == sealer.generation and extended >= self.started
        ):
            sealer.announced()


def find_mac(segment: Segment) -> tuple[bytes | None, bytes]:
    """The MAC option's value, and the options that enter the MAC (docs/crypt-option.md section 6)."""
    covered = b"".join(options.encode(*entry) for entry in segment.options if entry[0] not in UNAUTHENTICATED_OPTIONS)
    return segment.option(MAC), covered
