"""The outgoing direction of an encrypted connection (spec sections 3, 5, 6 and 9).

`outbound` runs once for every segment; what is rare stands in methods of its own. Sequence numbers with the name
`extended` count on where 32 bits wrap.
"""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from tcpcryptd.core.protocol import DROP, Action, Connection, ConnectionClass, Direction, Verdict
from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import MAC, Opcode
from tcpcryptd.crypt.numbers import Numbers
from tcpcryptd.crypt.session import Keys
from tcpcryptd.wire import options
from tcpcryptd.wire.checksum import address_sum, ones_complement_sum
from tcpcryptd.wire.segment import FIN, PSH, RST, SYN, TCP_HEADER, URG, Segment
from tcpcryptd.wire.sequence import MASK, add, extend

if TYPE_CHECKING:
    from tcpcryptd.crypt.opener import Opener

M = struct.Struct(">HHBBHQ")
"""Magic, TCP length, data offset in words, flags, urgent pointer, extended sequence number (spec section 6)."""
M_MAGIC = 0x8000
A = struct.Struct(">Q")
"""Extended acknowledgment number."""
TIMESTAMP_PREFIX = b"\x01\x01\x08\x0a"
TIMESTAMP_AREA = 12
"""NOP NOP timestamp: the only options that the kernel sends in an open connection without SACK."""
RARE = SYN | FIN | RST
_OPENING_OR_RESET = SYN | RST

_UINT16 = struct.Struct(">H")
_PEEK = struct.Struct(">4xI4xBB")
_PADDING = (b"", b"\0", b"\0\0", b"\0\0\0")
_LARGE = 1000
"""Bytes of packet: below any path MTU that IPv6 allows, with room for what is added."""
_MAX_SEGMENT = 65_531 - 60
"""What the kernel copies to a queue at most (design notes, section 3), less the longest IP header."""


class Sealer:
    """Shifts, enciphers and authenticates what the local kernel sends."""

    def __init__(self, connection: Connection, keys: Keys, numbers: Numbers, max_segment: int) -> None:
        """`max_segment`: bytes of TCP segment that the local link carries."""
        self._connection = connection
        self._shift = numbers.sent_shift
        self._acknowledgment_shift = numbers.received_shift
        self._address_sum = address_sum(connection.key[:-4])
        self._max_segment = self._limit = min(max_segment, _MAX_SEGMENT)
        self.mask = MASK << 32 | MASK if keys.suite.extended_sequence else MASK
        self.first = self.next = numbers.send_next
        """Extended, on the wire: of the first byte, and of what follows the last byte or FIN that was sent."""
        self.finished = False
        """Whether FIN was sent, which takes a sequence number."""
        self.last_acknowledgment = add(numbers.receive_next, -numbers.received_shift)
        """What the local kernel acknowledged last, in its own numbers."""
        self.opener: Opener
        self.rekey: Callable[[], None]
        """Called when the keys wear out."""
        self.answered: Callable[[Segment, float], Verdict]
        """Takes a SYN ACK of another connection than this one."""
        self.generation = keys.generation
        self.started = numbers.send_next
        """Extended: where the current keys begin."""
        self._before: Keys | None = None
        self._announcement: bytes | None = None
        self._use(keys)
        self._before_reaches_back_to = self._reaches_back_to

    def _use(self, keys: Keys) -> None:
        self._keys = keys
        self._seal = keys.outgoing.seal
        self._worn_at = self.started + keys.suite.rekey_bytes
        # What is sent again from before the start comes to it (see _rare): a quarter of what the keys can bear.
        self._spent_at = self.started + keys.suite.rekey_bytes * 3 // 2
        self._reaches_back_to = self.started - keys.suite.rekey_bytes // 2
        self._mac_prefix = bytes((MAC, keys.suite.tag_length + 2))
        self._mac_length = keys.suite.tag_length + 2

    @property
    def announcing(self) -> bool:
        """Whether segments carry REKEY, since the peer may not know of the current keys."""
        return self._announcement is not None

    def begin_generation(self, keys: Keys) -> None:
        """What is new from now on is sealed with these keys; segments say so until the peer has shown that it knows."""
        self._before = self._keys
        self.generation = keys.generation
        self.started = self.next
        # They sealed nothing from the new start on, so all that they can bear lies below it.
        self._before_reaches_back_to = self.started - 2 * self._keys.suite.rekey_bytes
        start = (self.started & MASK).to_bytes(4, "big")
        self._announcement = option.encode(option.Suboption(Opcode.REKEY, bytes((keys.generation,)) + start))
        self._limit = -1
        self._use(keys)

    def announced(self) -> None:
        """The peer has the current keys."""
        self._announcement = None
        self._limit = self._max_segment

    def forget_previous_keys(self) -> None:
        """Nothing of the generation before will be sent again."""
        self._before = None

    def outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """A segment from the local kernel."""
        sequence, data_offset, flags = _PEEK.unpack_from(packet, offset)
        area = packet[offset + 20 : offset + (data_offset >> 4) * 4]
        extended = extend(sequence + self._shift, self.next)
        if extended < self.next and len(packet) > _LARGE:
            self._follow_path_mtu(offset)
        if (
            flags & _OPENING_OR_RESET
            or len(packet) - offset + 4 + self._mac_length > self._limit
            or extended < self.started
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

    def _follow_path_mtu(self, offset: int) -> None:
        """A large segment was lost, perhaps because a link on the way is narrower than the local one.

        The kernel has cut its segments to the path then, but knows nothing of what is added here.
        """
        mtu = self._connection.path_mtu()
        if mtu is not None and mtu - offset < self._max_segment:
            self._max_segment = mtu - offset
            self._limit = min(self._limit, self._max_segment)

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
        source, destination, _, acknowledgment, data_offset, flags, window, _, urgent = TCP_HEADER.unpack_from(
            packet, offset
        )
        payload = packet[offset + (data_offset >> 4) * 4 :]
        end = extended + len(payload) + (flags & FIN)
        if end > self.next:
            if end > self._spent_at:
                self._connection.count("keys_spent")
                # What was in flight has perhaps been acknowledged since; the kernel sends this segment again.
                self.rekey()
                return DROP
            self.next = end
        self.last_acknowledgment = acknowledgment
        acknowledgment = (acknowledgment + self._acknowledgment_shift) & MASK
        padding = _PADDING[-(len(area) + self._mac_length) & 3]
        header_length = 20 + len(area) + self._mac_length + len(padding)
        length = header_length + len(payload)
        number = extended & self.mask
        ciphertext, tag = seal(
            number,
            M.pack(M_MAGIC, length, header_length >> 2, flags, urgent, number),
            A.pack(extend(acknowledgment, self.opener.next) & self.mask),
            covered,
            payload,
        )
        tail = b"".join((area, self._mac_prefix, tag, padding, ciphertext))
        tcp = bytearray(
            TCP_HEADER.pack(
                source,
                destination,
                extended & MASK,
                acknowledgment,
                header_length << 2 | data_offset & 0x0F,
                flags,
                window,
                0,
                urgent,
            )
        )
        _UINT16.pack_into(tcp, 16, (self._address_sum + length + ones_complement_sum(tcp + tail)) % 65535 ^ 0xFFFF)
        if end >= self._worn_at:
            self.rekey()
        return (
            Action.MODIFY,
            b"".join((_resized_ip_header(packet, offset, length), tcp, tail)),
            ConnectionClass.ENCRYPTED,
        )

    def _rare(self, segment: Segment, extended: int, now: float) -> Verdict:
        """A segment that resets, carries other options, belongs to old keys, announces new ones, or is too long."""
        if segment.flags & SYN:
            return self._syn(segment, now)
        self._connection.last_seen = now
        if extended < (self._reaches_back_to if self._before is None else self._before_reaches_back_to):
            # The oldest keys that are left cannot bear to be used so far from where they begin.
            self._connection.count("keys_forgotten")
            return DROP
        verdicts = []
        for piece, start in self._pieces(segment, extended):
            # Keep-alives, and what was lost for long, lie below the start of keys whose predecessors are forgotten.
            keys = self._before if self._before is not None and start < self.started else self._keys
            # For each piece anew, since keys can wear out with the one before.
            area, announcement = self._options(segment)
            verdicts.append(self._sealed(piece, segment.offset, start, area, announcement, keys.outgoing.seal))
        for _, sealed, _ in verdicts[1:]:
            if sealed is not None:
                self._connection.inject(Direction.OUT, sealed)
        if segment.flags & RARE and verdicts and verdicts[-1][0] is not Action.DROP:
            self._closing(segment.flags, now)
        return verdicts[0] if verdicts else DROP

    def _options(self, segment: Segment) -> tuple[bytes, bytes]:
        """The option area before the MAC, and what of it enters the MAC.

        Nothing else fits beside the MAC, and a peer that did not negotiate it cannot miss it.
        """
        timestamp = segment.option(options.TIMESTAMP)
        area = b"" if timestamp is None or len(timestamp) != 8 else options.encode(options.TIMESTAMP, timestamp)
        if self._announcement is not None:
            return area + self._announcement, self._announcement
        return TIMESTAMP_PREFIX[:2] + area if area else b"", b""

    def _pieces(self, segment: Segment, extended: int) -> list[tuple[bytes, int]]:
        """The segment, cut where it would be longer than the link carries and where new keys begin."""
        room = self._max_segment - 20 - options.MAX_LENGTH
        if room <= 0:
            self._connection.count("too_long")
            return []
        payload, start = segment.payload, 0
        pieces: list[tuple[bytes, int]] = []
        while not pieces or start < len(payload):
            end = min(start + room, len(payload))
            if extended + start < self.started < extended + end:
                end = self.started - extended
            urgent = max(segment.urgent - start, 0) if segment.flags & URG else segment.urgent
            flags = segment.flags & (0xFF if end == len(payload) else ~(FIN | PSH)) & (0xFF if urgent else ~URG)
            piece = segment.edited(flags=flags, urgent=urgent, payload=payload[start:end])
            pieces.append((piece, extended + start))
            start = end
        return pieces

    def _syn(self, segment: Segment, now: float) -> Verdict:
        if segment.is_opening:
            return self._connection.renew(segment, Direction.OUT, now)
        if segment.sequence == add(self.first, -self._shift - 1):
            # The kernel did not get the segment that carried INIT1; the peer answers with an acknowledgment.
            return Action.ACCEPT, None, ConnectionClass.ENCRYPTED
        return self.answered(segment, now)


def _resized_ip_header(packet: bytes, offset: int, segment_length: int) -> bytearray:
    header = bytearray(packet[:offset])
    if header[0] >> 4 == 4:
        length = offset + segment_length
        # The checksum follows from the old one (RFC 1624).
        total = (_UINT16.unpack_from(header, 10)[0] ^ 0xFFFF) + length - _UINT16.unpack_from(header, 2)[0]
        _UINT16.pack_into(header, 2, length)
        _UINT16.pack_into(header, 10, total % 65535 ^ 0xFFFF)
    else:
        _UINT16.pack_into(header, 4, offset + segment_length - 40)
    return header
