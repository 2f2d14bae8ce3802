"""The outgoing direction of an encrypted connection: the kernel's segments become pieces of the stream of frames."""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from tcpcryptd.core.protocol import DROP, Action, ConnectionClass, Direction, Verdict, joined
from tcpcryptd.eno.constants import OVERHEAD
from tcpcryptd.eno.cutting import Cutting
from tcpcryptd.eno.stream.flow import Flow
from tcpcryptd.eno.stream.outbound_stream import Piece
from tcpcryptd.eno.stream.packets import TIMESTAMP_AREA, TIMESTAMP_PREFIX, Fields, PacketBuilder, timestamp_area
from tcpcryptd.wire.segment import ACK, CWR, FIN, PSH, RST, SYN, URG, MalformedPacket, Segment
from tcpcryptd.wire.syn import LOCAL_MAX_MSS, MAX_PACKET
from tcpcryptd.wire.words import uint16, uint32

_CUT_HERE: Final = 4_500
"""Bytes of payload up to which a packet is cut here. The kernel cuts a frame where it would have cut the plaintext, so
that the frame's last 20 bytes are a segment of their own. A slow connection has such packets; in a larger one, of a
fast connection, one more segment counts little, and cutting takes time."""
_LARGE: Final = 1000
"""Bytes of packet: below any path MTU that IPv6 allows, with room for what is added."""


class OutboundPackets:
    """Handles packets of the local kernel. They may be larger than the link carries: the kernel cuts them later."""

    def __init__(
        self,
        flow: Flow,
        max_segment: int,
        syn: Callable[[Segment, float], Verdict],
        probe: Callable[[float], bool],
        release: Callable[[], None],
        cutting: Cutting,
    ) -> None:
        """Take over a connection.

        Args:
            flow: The connection.
            max_segment: Bytes of TCP segment that the local link carries.
            syn: Takes a segment with SYN.
            probe: Sees whether the peer is alive, in the place of a keep-alive; False: it cannot.
            release: Gives the local kernel what it had no room for.
            cutting: Whether packets may be cut here.
        """
        self._flow = flow
        self._connection = flow.connection
        self._builder = PacketBuilder(flow.connection.key)
        self._max_segment = min(max_segment, LOCAL_MAX_MSS + 20)
        self._told = MAX_PACKET
        """Bytes of packet that the local kernel thinks the path carries: it drops what has grown over that."""
        self._syn = syn
        self._probe = probe
        self._release = release
        self._cutting = cutting

    def outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """A segment from the local kernel."""
        start, flags = offset + (packet[offset + 12] >> 4) * 4, packet[offset + 13]
        if not offset + 20 <= start <= len(packet):
            raise MalformedPacket("TCP data offset")
        if flags & (SYN | RST):
            return self._syn(Segment(packet, offset), now) if flags & SYN else self._reset(packet, offset, now)
        flow, outbound = self._flow, self._flow.outbound
        plain = flow.sent(uint32(packet, offset + 4))
        payload = memoryview(packet)[start:]
        if plain < outbound.end:
            # It may end inside a frame, of which the peer's kernel would see nothing and say nothing.
            flags |= PSH if payload else 0
            if len(packet) > _LARGE:
                self._follow_path_mtu(packet, offset)
            if not payload and flow.peer_window and self._probe(now):
                return DROP
        urgent = plain + uint16(packet, offset + 18) - 1 if flags & URG else None
        segment = self._segment(len(payload), start - offset, now)
        piece = outbound.send(plain, payload, flags & FIN != 0, urgent, segment)
        if piece is None:
            self._connection.count("held_back")
            return DROP
        if outbound.wire_end - outbound.generation_start >= flow.rekey_bytes:
            outbound.rekey()
        area = packet[offset + 20 : start]
        if len(area) != TIMESTAMP_AREA or area[:4] != TIMESTAMP_PREFIX:
            area = timestamp_area(packet, offset, area)
        acknowledgment, window = self._note(uint32(packet, offset + 8), uint16(packet, offset + 14), area)
        area += flow.extra_options(len(area), with_sack=len(packet) - offset <= self._max_segment)
        self._connection.last_seen = now
        if piece.fin:
            self._connection.saw_closing(FIN, Direction.OUT, now)
        fields = Fields(flow.local_number(piece.wire), acknowledgment, flags & ~(FIN | URG), window)
        cuts = outbound.cuts(plain, plain + len(payload), segment) if segment else []
        return self._sent(packet[:offset], fields, area, piece, len(packet) - offset, cuts)

    def _segment(self, length: int, header_length: int, now: float) -> int:
        """Bytes of payload in each segment of a packet which is cut here; 0: it is not, or not into full segments."""
        if length > _CUT_HERE:
            return 0
        segment = min(self._max_segment - 20, self._flow.peer_segment) - OVERHEAD - header_length + 20
        return segment if 0 < segment < length and length % segment == 0 and self._cutting.take(now) else 0

    def _note(self, acknowledgment: int, window: int, area: bytes) -> tuple[int, int]:
        """Keeps what the local kernel says; what the peer is told of it."""
        self._flow.note_local(acknowledgment, window, area)
        told = self._flow.tell()
        if self._flow.withheld >= 0:
            self._release()
        return told

    def _sent(
        self, ip_header: bytes, fields: Fields, area: bytes, piece: Piece, original: int, cuts: list[int]
    ) -> Verdict:
        """The verdict on a packet that had a segment of `original` bytes; `cuts`: wire offsets, if it is cut here."""
        if self._flow.aperture is not None:
            self._flow.open_window(self._flow.aperture, self._connection.last_seen)
        room = self._max_segment - 20 - len(area)
        is_large = original > self._max_segment
        """The kernel cuts the packet after us, and computes the checksums then."""
        length = len(piece.payload)
        if cuts:
            starts = [0, *(cut - piece.wire for cut in cuts)]
            if all(0 < end - start <= room for start, end in pairwise([*starts, length])):
                packets = self._cut(ip_header, fields, area, piece, starts)
                return Action.SPLIT, b"".join(packets), ConnectionClass.STREAM
        if length <= room if not is_large else room < length <= MAX_PACKET - len(ip_header) - 20 - len(area):
            if piece.fin:
                fields.flags |= FIN
            packet = self._builder.gather(ip_header, fields, area, piece.payload, checksum=not is_large)
            if len(packet) > self._told and not is_large:
                self._connection.inject(Direction.OUT, joined(packet))
                return DROP
            return Action.MODIFY, packet, ConnectionClass.STREAM
        packets = self._cut(ip_header, fields, area, piece, [*range(0, max(length, 1), max(room, 1))])
        # A packet that the kernel would cut cannot become one that needs no cutting.
        first = None if is_large else packets.pop(0)
        for each in packets:
            self._connection.inject(Direction.OUT, each)
        return DROP if first is None else (Action.MODIFY, first, ConnectionClass.STREAM)

    def _cut(self, ip_header: bytes, fields: Fields, area: bytes, piece: Piece, starts: list[int]) -> list[bytes]:
        """A packet for the payload from each of these places on, as the kernel's segmentation would make it."""
        payload = memoryview(piece.payload)
        packets = []
        for index, (at, end) in enumerate(pairwise([*starts, len(payload)])):
            is_last = index + 1 == len(starts)
            flags = fields.flags & ~((CWR if index else 0) | (0 if is_last else PSH))
            flags |= FIN if is_last and piece.fin else 0
            number = self._flow.local_number(piece.wire + at)
            cut = Fields(number, fields.acknowledgment, flags, fields.window)
            packets.append(self._builder.build(ip_header, cut, area, payload[at:end], index=index))
        return packets

    def narrow(self, mtu: int, is_own: bool) -> int:
        """Notes that a link on the way takes `mtu` bytes of IP packet; returns how many the local kernel may use."""
        path, self._told = self._connection.narrowed(mtu, OVERHEAD, is_own)
        self._max_segment = min(self._max_segment, path - (20 if len(self._connection.key) == 12 else 40))
        return self._told

    def _follow_path_mtu(self, packet: bytes, offset: int) -> None:
        """A large segment was lost, perhaps because a link on the way is narrower than the local one.

        The kernel has cut its segments to the path then, but knows nothing of what is added here.
        """
        mtu = self._connection.path_mtu()
        if mtu is not None and mtu - offset < self._max_segment:
            self._max_segment = mtu - offset
            self._connection.tell_path_mtu(packet, offset, mtu, OVERHEAD)

    def _reset(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        flow = self._flow
        area = timestamp_area(packet, offset, segment.option_area)
        acknowledgment, window = 0, segment.window
        if segment.flags & ACK:
            acknowledgment, window = self._note(segment.acknowledgment, segment.window, area)
        wire = flow.outbound.wire_position(flow.sent(segment.sequence))
        self._connection.saw_closing(RST, Direction.OUT, now)
        fields = Fields(flow.local_number(wire), acknowledgment, segment.flags & (RST | ACK), window)
        return Action.MODIFY, self._builder.build(packet[:offset], fields, area, b""), ConnectionClass.STREAM
