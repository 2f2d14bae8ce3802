"""An encrypted connection: what goes out is sealed, what comes in is opened (spec sections 3, 5 and 6).

`outbound` and `inbound` run once for every segment; what is rare stands in methods of its own.
"""

import struct
from dataclasses import dataclass

from tcpcryptd.core.connection import Connection
from tcpcryptd.core.lifecycle import Phase
from tcpcryptd.core.protocol import Description, Injection
from tcpcryptd.core.verdict import DROP, Action, ConnectionClass, Direction, Verdict, modify
from tcpcryptd.crypt.constants import MAC, UNAUTHENTICATED_OPTIONS, Opcode
from tcpcryptd.crypt.option import find, read
from tcpcryptd.crypt.session import Session
from tcpcryptd.wire import options
from tcpcryptd.wire.checksum import address_sum, ones_complement_sum
from tcpcryptd.wire.segment import ACK, FIN, PSH, RST, SYN, TCP_HEADER, URG, MalformedPacket, Segment, make, reverse_key
from tcpcryptd.wire.sequence import MASK, add, extend

_M = struct.Struct(">HHBBHQ")
_M_MAGIC = 0x8000
_A = struct.Struct(">Q")
_UINT16 = struct.Struct(">H")
_RARE = SYN | FIN | RST
_TIMESTAMP_PREFIX = b"\x01\x01\x08\x0a"
_TIMESTAMP_AREA = 12
"""NOP NOP timestamp: the only options that the kernel sends in an open connection without SACK."""
_MAX_PACKET = 65_531
"""What the kernel copies to a queue at most (design notes, section 3)."""
_MAX_IP_HEADER = 60


@dataclass(frozen=True, slots=True)
class Numbers:
    """Sequence numbers where the handshake left them."""

    sent_shift: int
    """How far the wire is ahead of the local kernel: the length of the handshake message that this host sent."""
    received_shift: int
    send_next: int
    """Of the next segment that the local kernel sends, as it stands on the wire."""
    receive_next: int


class Protection:
    """Seals and opens the segments of one connection; `session` holds the keys."""

    def __init__(
        self, connection: Connection, session: Session, numbers: Numbers, max_segment: int, answer: bytes | None = None
    ) -> None:
        """`max_segment`: bytes of TCP segment that the local link carries; `answer`: the packet that a repeated
        handshake message of the peer's is answered with.
        """
        self._connection = connection
        self._session = session
        self._seal = session.outgoing.seal
        self._open = session.incoming.open
        self._mask = MASK << 32 | MASK if session.suite.extended_sequence else MASK
        self._sent_shift = numbers.sent_shift
        self._received_shift = numbers.received_shift
        self._first_sent = self._sent_next = numbers.send_next
        self._first_received = self._received_next = numbers.receive_next
        self._acknowledged: int | None = None
        self._last_acknowledgment = add(numbers.receive_next, -numbers.received_shift)
        self._address_sum = address_sum(connection.key[:-4])
        self._max_segment = min(max_segment, _MAX_PACKET - _MAX_IP_HEADER)
        self._answer = answer
        self._tag_length = session.outgoing.tag_length
        self._mac_prefix = bytes((MAC, self._tag_length + 2))
        self._mac_padding = bytes(-(self._tag_length + 2) % 4)
        self._mac_space = self._tag_length + 2 + len(self._mac_padding)

    @property
    def heard(self) -> bool:
        """Whether an authentic segment has come in."""
        return self._acknowledged is not None

    @property
    def answer(self) -> bytes | None:
        """The packet that a repeated handshake message of the peer's is answered with."""
        return self._answer

    @answer.setter
    def answer(self, packet: bytes) -> None:
        self._answer = packet

    def take_over(self) -> None:
        """From now on every segment of the connection passes here."""
        self._connection.become(self, self.outbound, self.inbound)

    def outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """A segment from the local kernel: shifted, enciphered, with a MAC."""
        source, destination, sequence, acknowledgment, data_offset, flags, window, _, urgent = TCP_HEADER.unpack_from(
            packet, offset
        )
        start = offset + (data_offset >> 4) * 4
        area = packet[offset + 20 : start]
        length = len(packet) - offset + self._mac_space
        if (
            flags & _RARE
            or length > self._max_segment
            or (area and (len(area) != _TIMESTAMP_AREA or area[:4] != _TIMESTAMP_PREFIX))
        ):
            verdict = self._rare_outbound(Segment(packet, offset), now)
            if verdict is not None:
                return verdict
        self._connection.last_seen = now
        self._last_acknowledgment = acknowledgment
        payload = packet[start:]
        sequence = (sequence + self._sent_shift) & MASK
        acknowledgment = (acknowledgment + self._received_shift) & MASK
        extended = extend(sequence, self._sent_next)
        number = extended & self._mask
        self._sent_next = max(self._sent_next, extended + len(payload))
        data_offset += self._mac_space << 2
        ciphertext, tag = self._seal(
            number,
            _M.pack(_M_MAGIC, length, data_offset >> 4, flags, urgent, number),
            _A.pack(extend(acknowledgment, self._received_next) & self._mask),
            b"",
            payload,
        )
        tail = b"".join((area, self._mac_prefix, tag, self._mac_padding, ciphertext))
        tcp = bytearray(
            TCP_HEADER.pack(source, destination, sequence, acknowledgment, data_offset, flags, window, 0, urgent)
        )
        _UINT16.pack_into(tcp, 16, (self._address_sum + length + ones_complement_sum(tcp + tail)) % 65535 ^ 0xFFFF)
        return (
            Action.MODIFY,
            b"".join((_grown_ip_header(packet, offset, self._mac_space), tcp, tail)),
            ConnectionClass.ENCRYPTED,
        )

    def inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """A segment from the wire: verified, deciphered, shifted back. Its MAC option stays, for kernels skip it."""
        source, destination, sequence, acknowledgment, data_offset, flags, window, _, urgent = TCP_HEADER.unpack_from(
            packet, offset
        )
        start = offset + (data_offset >> 4) * 4
        if not offset + 20 <= start <= len(packet):
            raise MalformedPacket(f"TCP data offset {data_offset >> 4}")
        area = packet[offset + 20 : start]
        mac = len(area) - self._mac_space
        covered = b""
        if area[mac : mac + 2] == self._mac_prefix and (
            mac == 0 or (mac == _TIMESTAMP_AREA and area[:4] == _TIMESTAMP_PREFIX)
        ):
            tag = area[mac + 2 : mac + 2 + self._tag_length]
        else:
            found, covered = _find_mac(area)
            if found is None:
                return self._unauthenticated(Segment(packet, offset), now)
            tag = found
        connection = self._connection
        segment_sum = self._address_sum + len(packet) - offset
        if (segment_sum + ones_complement_sum(packet[offset:])) % 65535:
            connection.count("bad_checksum")
            return DROP
        extended = extend(sequence, self._received_next)
        number = extended & self._mask
        plaintext = self._open(
            number,
            _M.pack(_M_MAGIC, len(packet) - offset, data_offset >> 4, flags, urgent, number),
            _A.pack(extend(acknowledgment, self._sent_next) & self._mask),
            covered,
            packet[start:],
            tag,
        )
        if plaintext is None or flags & SYN:
            connection.report_integrity_failure()
            return DROP
        connection.last_seen = now
        if flags & _RARE:
            connection.saw_closing(flags, Direction.IN, now)
        self._acknowledged = acknowledgment
        self._received_next = max(self._received_next, extended + len(plaintext))
        tcp = bytearray(
            TCP_HEADER.pack(
                source,
                destination,
                (sequence - self._received_shift) & MASK,
                (acknowledgment - self._sent_shift) & MASK,
                data_offset,
                flags,
                window,
                0,
                urgent,
            )
        )
        _UINT16.pack_into(
            tcp, 16, (segment_sum + ones_complement_sum(b"".join((tcp, area, plaintext)))) % 65535 ^ 0xFFFF
        )
        return Action.MODIFY, b"".join((packet[:offset], tcp, area, plaintext)), ConnectionClass.ENCRYPTED

    def describe(self) -> Description:
        """For the control socket."""
        session = self._session
        return Description(
            session.session_id,
            session.role.value,
            session.suite_name,
            session.resumed,
            session.peer_aware,
            self._sent_next - self._first_sent,
            self._received_next - self._first_received,
        )

    def resets(self) -> list[Injection]:
        """An RST with each sequence number that the other end may expect next, since only an exact one is obeyed."""
        sent_next = add(self._sent_next, -self._sent_shift)
        received_next = add(self._received_next, -self._received_shift)
        acknowledged = sent_next if self._acknowledged is None else add(self._acknowledged, -self._sent_shift)
        key = self._connection.key
        injections: list[Injection] = []
        for number in {sent_next, acknowledged}:
            plain = make(key, sequence=number, acknowledgment=received_next, flags=RST | ACK, window=0)
            _, sealed, _ = self.outbound(plain, len(plain) - 20, self._connection.last_seen)
            if sealed is not None:
                injections.append((Direction.OUT, sealed))
        for number in {received_next, self._last_acknowledgment}:
            reset = make(reverse_key(key), sequence=number, acknowledgment=sent_next, flags=RST | ACK, window=0)
            injections.append((Direction.IN, reset))
        return injections

    def _rare_outbound(self, segment: Segment, now: float) -> Verdict | None:
        """A verdict for a segment that cannot be sealed as it is; None when it can."""
        if segment.flags & SYN:
            return self._outbound_syn(segment, now)
        if segment.flags & _RARE:
            self._connection.saw_closing(segment.flags, Direction.OUT, now)
        timestamp = [option for option in segment.options if option[0] == options.TIMESTAMP]
        area = b"".join(b"\x01\x01" + options.encode(*option) for option in timestamp[:1])
        if area != segment.option_area:
            # Nothing else fits beside the MAC, and a peer that did not negotiate it cannot miss it.
            return self.outbound(segment.edited(option_area=area), segment.offset, now)
        if len(segment.packet) - segment.offset + self._mac_space > self._max_segment:
            return self._split(segment, now)
        return None

    def _outbound_syn(self, segment: Segment, now: float) -> Verdict:
        if segment.is_opening:
            return self._connection.renew(segment, Direction.OUT, now)
        if segment.sequence == add(self._first_sent, -self._sent_shift - 1):
            # The kernel did not get the segment that carried INIT1; the peer answers with an acknowledgment.
            return Action.ACCEPT, None, ConnectionClass.ENCRYPTED
        # The kernel has opened a new connection without our knowing the old one's end.
        self._connection.close()
        return DROP

    def _split(self, segment: Segment, now: float) -> Verdict:
        """Cuts a segment that would be larger than the link's MTU with its MAC; the later pieces are injected."""
        room = self._max_segment - (len(segment.packet) - segment.offset - segment.payload_length) - self._mac_space
        if room <= 0:
            self._connection.count("too_long")
            return DROP
        payload = segment.payload
        verdicts = []
        for start in range(0, len(payload), room):
            last = start + room >= len(payload)
            urgent = max(segment.urgent - start, 0)
            flags = segment.flags & (0xFF if last else ~(FIN | PSH)) & (0xFF if urgent else ~URG)
            piece = segment.edited(
                sequence=add(segment.sequence, start),
                flags=flags,
                urgent=urgent,
                payload=payload[start : start + room],
            )
            verdicts.append(self.outbound(piece, segment.offset, now))
        for _, sealed, _ in verdicts[1:]:
            if sealed is not None:
                self._connection.inject(Direction.OUT, sealed)
        return verdicts[0]

    def _unauthenticated(self, segment: Segment, now: float) -> Verdict:
        """The few segments that count without a MAC (spec section 6)."""
        if not segment.checksum_is_right:
            self._connection.count("bad_checksum")
            return DROP
        if segment.is_opening:
            if self._connection.phase is Phase.CLOSED:
                return self._connection.renew(segment, Direction.IN, now)
            # The kernel answers a SYN in an open connection with a challenge ACK (RFC 5961, section 4).
            return self._unshifted(segment)
        if segment.flags & RST and not self._session.secure_reset:
            if segment.sequence == self._received_next & MASK:
                self._connection.saw_closing(segment.flags, Direction.IN, now)
            return self._unshifted(segment)
        repeated = segment.flags & (SYN | ACK) == SYN | ACK or find(read(segment), Opcode.INIT2)
        if repeated and self._answer is not None:
            self._connection.inject(Direction.OUT, self._answer)
        else:
            self._connection.report_integrity_failure()
        return DROP

    def _unshifted(self, segment: Segment) -> Verdict:
        packet = segment.edited(
            sequence=add(segment.sequence, -self._received_shift),
            acknowledgment=add(segment.acknowledgment, -self._sent_shift),
            payload=b"",
        )
        return modify(packet, ConnectionClass.ENCRYPTED)


def _grown_ip_header(packet: bytes, offset: int, growth: int) -> bytearray:
    header = bytearray(packet[:offset])
    if header[0] >> 4 == 4:
        _UINT16.pack_into(header, 2, len(packet) + growth)
        # The checksum follows from the old one (RFC 1624).
        total = (_UINT16.unpack_from(header, 10)[0] ^ 0xFFFF) + growth
        _UINT16.pack_into(header, 10, (total & 0xFFFF) + (total >> 16) ^ 0xFFFF)
    else:
        _UINT16.pack_into(header, 4, len(packet) + growth - 40)
    return header


def _find_mac(area: bytes) -> tuple[bytes | None, bytes]:
    """The MAC option's value, and the options that enter the MAC."""
    try:
        found = options.parse(area)
    except options.OptionError:
        return None, b""
    covered = b"".join(options.encode(*option) for option in found if option[0] not in UNAUTHENTICATED_OPTIONS)
    return options.find(found, MAC), covered
