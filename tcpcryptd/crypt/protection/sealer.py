"""The outgoing direction of an encrypted connection (docs/crypt-option.md sections 3, 5, 6 and 9).

`outbound` runs once for every segment; rare cases have methods of their own. Sequence numbers with the name
`extended` count on where 32 bits wrap.
"""

from collections.abc import Callable
from typing import Final

from tcpcryptd.core.protocol import DROP, Action, ConnectionClass, Direction, Verdict
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import MAC, MSS_REDUCTION, TIMESTAMP_AREA, Opcode
from tcpcryptd.crypt.protection.flow import RARE, TIMESTAMP_PREFIX, Change, Flow
from tcpcryptd.crypt.protection.pieces import Whole, authenticated_header, sealed_pieces
from tcpcryptd.crypt.protection.selective import room_for_blocks, shifted_sack
from tcpcryptd.crypt.protection.session import Keys
from tcpcryptd.wire import options
from tcpcryptd.wire.checksum import ones_complement_sum
from tcpcryptd.wire.header import replaced
from tcpcryptd.wire.segment import FIN, RST, SYN, Segment
from tcpcryptd.wire.sequence import MASK, add, extend
from tcpcryptd.wire.syn import LOCAL_MAX_MSS
from tcpcryptd.wire.words import uint16, uint32

_OPENING_OR_RESET: Final = SYN | RST

_PADDING: Final = (b"", b"\0", b"\0\0", b"\0\0\0")
_LARGE: Final = 1000
"""Bytes of packet: below any path MTU that IPv6 allows, with room for what is added."""
_LEAST: Final = 500
"""Bytes of TCP segment: no path is narrower."""
_MAX_SEGMENT: Final = LOCAL_MAX_MSS + 20


class Sealer:
    """Shifts, encrypts and authenticates the segments of the local kernel."""

    def __init__(
        self,
        flow: Flow,
        keys: Keys,
        max_segment: int,
        rekey: Callable[[], None],
        answered: Callable[[Segment, float], Verdict],
    ) -> None:
        """Seal what a connection sends.

        Args:
            flow: The connection.
            keys: The first generation.
            max_segment: Bytes of TCP segment that the links of both hosts carry.
            rekey: Called when the keys wear out.
            answered: Takes a SYN ACK of another connection than this one.
        """
        numbers = flow.numbers
        self._flow = flow
        self._connection = flow.connection
        self._shift = numbers.sent_shift
        self._acknowledgment_shift = numbers.received_shift
        self._max_segment = min(max_segment, _MAX_SEGMENT)
        self._is_whole = flow.connection_class is ConnectionClass.STREAM
        self._path_known = not self._is_whole
        self._again_from, self._again_length = -1, 0
        """What was sent again last: extended number, and bytes of TCP segment."""
        self._told = 1 << 16
        """Bytes of packet that the local kernel thinks the path carries: it drops what has grown over that."""
        self._limit = self._usual_limit
        self.finished = False
        """Whether FIN was sent, which takes a sequence number."""
        self.last_acknowledgment = add(numbers.receive_next, -numbers.received_shift)
        """What the local kernel acknowledged last, in its own numbers."""
        self._rekey = rekey
        self._answered = answered
        self.change: Change | None = None
        """Looks at every segment while `watch` says so."""
        self._watched = False
        self._before: Keys | None = None
        self._announcement: bytes | None = None
        self._use(keys)
        self._before_reaches_back_to = self._reaches_back_to

    def _use(self, keys: Keys) -> None:
        flow = self._flow
        self._keys = keys
        self._seal = keys.outgoing.seal
        self._worn_at = flow.send_started + keys.suite.rekey_bytes
        # What is sent again from before the start comes to it (see _rare): a quarter of what the keys can bear.
        self._spent_at = flow.send_started + keys.suite.rekey_bytes * 3 // 2
        self._reaches_back_to = flow.send_started - keys.suite.rekey_bytes // 2
        self._mac_prefix = bytes((MAC, keys.suite.tag_length + 2))
        self._mac_length = keys.suite.tag_length + 2

    @property
    def _usual_limit(self) -> int:
        """Bytes of sealed segment from which on `_rare` looks at it."""
        # A larger one can be the kernel's to cut, even if it is no longer than a segment may be.
        return min(self._max_segment, _LARGE if self._is_whole else self._told - 40)

    @property
    def max_payload(self) -> int:
        """Bytes of TCP options and payload that the links of both hosts carry."""
        return self._max_segment - 20

    def watch(self, on: bool) -> None:
        """Whether `change` is to see all segments."""
        self._watched = on
        self._limit = -1 if on else self._usual_limit

    def begin_generation(self, keys: Keys, *, announce: bool) -> None:
        """What is new from now on is sealed with these keys.

        `announce`: segments say so until the peer has shown that it knows.
        """
        flow = self._flow
        self._before = self._keys
        flow.send_generation = keys.generation
        flow.send_started = flow.send_next
        # They sealed nothing from the new start on, so all that they can bear lies below it.
        self._before_reaches_back_to = flow.send_started - 2 * self._keys.suite.rekey_bytes
        if announce:
            start = (flow.send_started & MASK).to_bytes(4, "big")
            flow.announcing = True
            self._announcement = option.encode(option.Suboption(Opcode.REKEY, bytes((keys.generation,)) + start))
            self._limit = -1
        self._use(keys)

    def announced(self) -> None:
        """The peer has the current keys."""
        self._flow.announcing = False
        self._announcement = None
        self.watch(False)

    def forget_previous_keys(self) -> None:
        """Forgets the keys of the generation before: nothing of it will be sent again."""
        self._before = None

    def outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """A segment from the local kernel."""
        flow = self._flow
        flags = packet[offset + 13]
        area = packet[offset + 20 : offset + (packet[offset + 12] >> 4) * 4]
        extended = extend(uint32(packet, offset + 4) + self._shift, flow.send_next)
        if extended < flow.send_next or (len(packet) > _LARGE and not self._path_known):
            self._follow(packet, offset, extended)
        if (
            flags & _OPENING_OR_RESET
            or len(packet) - offset + 4 + self._mac_length > self._limit
            or extended < flow.send_started
            or (area and (len(area) != TIMESTAMP_AREA or area[:4] != TIMESTAMP_PREFIX))
        ):
            return self._rare(Segment(packet, offset), extended, now)
        self._connection.last_seen = now
        verdict = self._sealed(packet, offset, extended, area, b"", self._seal)
        if flags & FIN and verdict[0] is not Action.DROP:
            self._closing(flags, now)
        return verdict

    def _closing(self, flags: int, now: float) -> None:
        self._connection.saw_closing(flags, Direction.OUT, now)
        self.finished |= bool(flags & FIN)

    def _follow(self, packet: bytes, offset: int, extended: int) -> None:
        """A segment is sent again, or is the first large one: the way may have another MTU than was thought."""
        is_large = len(packet) > _LARGE
        if is_large:
            self._follow_path_mtu(packet, offset)
        if self._is_whole:
            self._follow_kernel(len(packet) - offset, extended, is_large=is_large)

    def _follow_path_mtu(self, packet: bytes, offset: int) -> None:
        """A large segment was lost, perhaps because a link on the way is narrower than the local one.

        The kernel has cut its segments to the path then, but knows nothing of what is added here. Of whole packets
        it does not say how it would cut them, so that this is looked up before the first one.
        """
        is_again = self._path_known
        self._path_known = True
        mtu = self._connection.path_mtu()
        if mtu is not None and self._narrow(mtu - offset) and is_again:
            self._connection.tell_path_mtu(packet, offset, mtu, MSS_REDUCTION)

    def narrow(self, mtu: int, is_own: bool) -> int:
        """Notes that a link on the way takes `mtu` bytes of IP packet; returns how many the local kernel may use."""
        path, self._told = self._connection.narrowed(mtu, MSS_REDUCTION, is_own)
        self._narrow(path - (20 if len(self._connection.key) == 12 else 40))
        self._limit = min(self._limit, self._usual_limit)
        return self._told

    def _narrow(self, segment: int) -> bool:
        """Whether that is less than before."""
        if segment >= self._max_segment:
            return False
        self._max_segment = segment
        self._limit = min(self._limit, segment)
        return True

    def _follow_kernel(self, length: int, extended: int, *, is_large: bool) -> None:
        """Learns the kernel's segment size from a retransmission, which is one segment (path MTU probing, RFC 4821).

        Nothing else tells the size, and segments that a black hole swallows would be lost for ever. A small segment may
        be all that the application wrote at once, unless it was longer the time before. A tiny one may be what a window
        takes.
        """
        is_shorter = extended == self._again_from and _LEAST <= length < self._again_length
        self._again_from, self._again_length = extended, length
        length += MSS_REDUCTION
        if (is_large or is_shorter) and length < self._max_segment and extended + length < self._flow.send_next:
            self._max_segment = length
            self._limit = min(self._limit, length)

    def _sealed(
        self,
        packet: bytes,
        offset: int,
        extended: int,
        area: bytes,
        covered: bytes,
        seal: Callable[[int, bytes, bytes, bytes, bytes], tuple[bytes, bytes]],
    ) -> Verdict:
        """The segment with `area` for its options and a MAC behind them; `covered`: the options that enter the MAC."""
        flow = self._flow
        acknowledgment, urgent = uint32(packet, offset + 8), uint16(packet, offset + 18)
        flags = packet[offset + 13]
        payload = packet[offset + (packet[offset + 12] >> 4) * 4 :]
        end = extended + len(payload) + (flags & FIN)
        if end > flow.send_next:
            if end <= self._spent_at:
                flow.send_next = end
            elif end > extended:
                # What was in flight has perhaps been acknowledged since; the kernel sends this segment again.
                self._exhausted()
                return DROP
        self.last_acknowledgment = acknowledgment
        acknowledgment = (acknowledgment + self._acknowledgment_shift) & MASK
        padding = _PADDING[-(len(area) + self._mac_length) & 3]
        header_length = 20 + len(area) + self._mac_length + len(padding)
        length = header_length + len(payload)
        number = extended & flow.mask
        ciphertext, tag = seal(
            number,
            authenticated_header(length, header_length >> 2, flags, urgent, number),
            (extend(acknowledgment, flow.receive_next) & flow.mask).to_bytes(8, "big"),
            covered,
            payload,
        )
        area = b"".join((area, self._mac_prefix, tag, padding))
        sums = flow.address_sum + ones_complement_sum(area) + ones_complement_sum(ciphertext)
        fields = extended & MASK, acknowledgment, flags, urgent
        sealed = replaced(packet, offset, fields, area, ciphertext, sums)
        if end >= self._worn_at:
            self._rekey()
        return Action.MODIFY, sealed, flow.connection_class

    def _rare(self, segment: Segment, extended: int, now: float) -> Verdict:
        """A segment that resets, carries other options, belongs to old keys, announces new ones, or is too long."""
        if segment.flags & SYN:
            return self._syn(segment, now)
        self._connection.last_seen = now
        if self._watched and self.change is not None:
            segment = self.change.outgoing(segment, extended, now)
        if extended < (self._reaches_back_to if self._before is None else self._before_reaches_back_to):
            # The oldest keys that are left cannot bear to be used so far from where they begin.
            self._connection.count("keys_forgotten")
            return DROP
        return self._cut(segment, extended, now)

    def _cut(self, segment: Segment, extended: int, now: float) -> Verdict:
        """Seals the segment, cut where it would be longer than the links carry and where new keys begin."""
        flow = self._flow
        total = segment.payload_length
        finish = segment.flags & FIN
        if not total and not finish:
            # What the kernel sent in between was not sealed: a peer that hears of it waits for it before keys change.
            extended = min(extended, flow.send_next)
        self.last_acknowledgment = segment.acknowledgment
        acknowledgment = (segment.acknowledgment + self._acknowledgment_shift) & MASK
        extended_acknowledgment = (extend(acknowledgment, flow.receive_next) & flow.mask).to_bytes(8, "big")
        whole = Whole(segment, extended, acknowledgment, extended_acknowledgment, flow.mask, flow.address_sum)
        runs: list[bytes] = []
        position = count = 0
        while not runs or position < total:
            # For each run anew, since keys can wear out with the one before.
            start = extended + position
            area, announcement = self._options(segment, start)
            # As the kernel reckons with the MSS that it was told: then it sends the same segments again.
            room = self._max_segment - 20 - MSS_REDUCTION - (0 if area == announcement else TIMESTAMP_AREA)
            if room <= 0:
                self._connection.count("too_long")
                return DROP
            keys, end = self._run(start, extended + total, room, finish)
            if end < start:
                # What was in flight has perhaps been acknowledged since; the kernel sends the rest again.
                self._exhausted()
                break
            if announcement and self.change is not None:
                end = min(end, start + room)
            runs.append(sealed_pieces(whole, position, end - extended, room, count, area, announcement, keys))
            count += max(-(-(end - start) // room), 1)
            position = end - extended
            if total or finish:
                self._sent(end + (finish if position == total else 0))
        if not runs:
            return DROP
        if segment.flags & RARE and position == total:
            self._closing(segment.flags, now)
        if count == 1 and (len(segment.packet) <= _LARGE or not self._is_whole) and len(runs[0]) <= self._told:
            return Action.MODIFY, runs[0], flow.connection_class
        return Action.SPLIT, b"".join(runs), flow.connection_class

    def _run(self, start: int, end: int, room: int, finish: int) -> tuple[Keys, int]:
        """The keys for a piece of `room` bytes that begins at `start`, and up to where they serve for the next ones.

        That lies before `start` when they cannot bear the first one.
        """
        flow = self._flow
        if start < flow.send_started:
            # Keep-alives, and what was lost for long, lie below the start of keys whose predecessors are forgotten.
            return self._before or self._keys, min(end, flow.send_started)
        if end + finish == start:
            return self._keys, end
        if start < self._worn_at:
            # With the piece that reaches it, new keys begin.
            end = min(end, start + -(-(self._worn_at - start) // room) * room)
        if end + finish > max(self._spent_at, flow.send_next):
            end = start + (max(self._spent_at, flow.send_next) - start) // room * room
            if end == start:
                end -= 1
        return self._keys, end

    def _exhausted(self) -> None:
        """Nothing more can be sealed with these keys."""
        self._connection.count("keys_spent")
        if self.change is not None:
            self.change.exhausted()
        self._rekey()

    def _sent(self, end: int) -> None:
        """Bytes up to the extended number `end` have been sealed."""
        flow = self._flow
        flow.send_next = max(flow.send_next, end)
        if end >= self._worn_at:
            self._rekey()

    def _options(self, segment: Segment, start: int) -> tuple[bytes, bytes]:
        """The option area before the MAC, and what of it enters the MAC.

        Of the rest, only what the kernel knows to be optional can be there: selective acknowledgments, of which a block
        or two fit, or none.
        """
        flow = self._flow
        timestamp = segment.option(options.TIMESTAMP)
        area = b"" if timestamp is None or len(timestamp) != 8 else options.encode(options.TIMESTAMP, timestamp)
        if self._announcement is not None and (
            self.change is None
            or (
                start == flow.send_started
                and self.change.says(data=segment.payload_length > 0, repeated=start < flow.send_next)
            )
        ):
            return area + self._announcement, self._announcement
        sack = segment.option(options.SACK)
        if sack is not None:
            sack = shifted_sack(sack, self._acknowledgment_shift, room_for_blocks(self._mac_length, len(area)))
            if sack:
                return area + sack, sack
        return TIMESTAMP_PREFIX[:2] + area if area else b"", b""

    def _syn(self, segment: Segment, now: float) -> Verdict:
        if segment.is_opening:
            return self._connection.renew(segment, Direction.OUT, now)
        if segment.sequence == add(self._flow.numbers.send_next, -self._shift - 1):
            # The kernel did not get the segment that carried INIT1; the peer answers with an acknowledgment.
            return Action.ACCEPT, None, ConnectionClass.ENCRYPTED
        return self._answered(segment, now)
