"""Data segments that continue each other, as one packet: what GRO makes of them (tcp_gro_receive in Linux)."""

from typing import Final

from tcpcryptd.wire.checksum import address_sum, ones_complement_sum
from tcpcryptd.wire.header import replaced
from tcpcryptd.wire.segment import ACK, PSH
from tcpcryptd.wire.syn import MAX_PACKET
from tcpcryptd.wire.words import uint16, uint32

_PLAIN_IPV4_HEADER: Final = 0x45
"""Version 4, five words: no IP options."""
_MORE_FRAGMENTS: Final = 0x3FFF
_TCP: Final = 6
_MARKED: Final = 3
"""Both bits of the traffic class that ECN has: congestion experienced (RFC 3168)."""
_BARE: Final = 5 << 4
_STAMPED: Final = 8 << 4
"""Data offset and reserved bits of a header without options, and with timestamps alone."""
_TIMESTAMP_PREFIX: Final = b"\x01\x01\x08\x0a"
_HALF: Final = 1 << 31


def find_data(packet: bytes) -> int:
    """Where the payload of a segment begins that others can be merged with; 0 for any other packet.

    It has no flag but ACK and PSH, no options but timestamps as Linux writes them, and no mark of congestion.
    """
    size = len(packet)
    if size > 40 and packet[0] == _PLAIN_IPV4_HEADER:
        if packet[9] != _TCP or packet[1] & _MARKED == _MARKED or uint16(packet, 6) & _MORE_FRAGMENTS:
            return 0
        offset = 20
    elif size > 60 and packet[0] >> 4 == 6:
        if packet[6] != _TCP or packet[1] >> 4 & _MARKED == _MARKED:
            return 0
        offset = 40
    else:
        return 0
    if packet[offset + 13] & ~PSH != ACK:
        return 0
    if packet[offset + 12] == _BARE:
        start = offset + 20
    elif packet[offset + 12] == _STAMPED and packet[offset + 20 : offset + 24] == _TIMESTAMP_PREFIX:
        start = offset + 32
    else:
        return 0
    return start if start < size else 0


def flow_of(packet: bytes) -> bytes:
    """Addresses and ports of a TCP packet; empty when it has IP options or extension headers."""
    if len(packet) >= 40 and packet[0] == _PLAIN_IPV4_HEADER:
        return packet[12:24]
    return packet[8:44] if len(packet) >= 60 and packet[0] >> 4 == 6 and packet[6] == _TCP else b""


class Run:
    """Segments of one flow, each of which begins where the one before ends."""

    def __init__(self, packet: bytes, start: int) -> None:
        """`start`: as `find_data` says; and so below."""
        self._offset = 20 if packet[0] == _PLAIN_IPV4_HEADER else 40
        self._start = start
        self._sequence = uint32(packet, self._offset + 4)
        self._first = self._last = packet
        self._size = len(packet)
        """Bytes of the packet that they make."""
        self._further: list[bytes] = []
        """The payloads of all but the first, which is copied only when there are others: it can have 64 KiB."""

    def take(self, packet: bytes, start: int) -> bool:
        """Whether the segment continues the run, which has it then."""
        offset, last = self._offset, self._last
        if start != self._start or self._size + len(packet) - start > MAX_PACKET:
            return False
        if uint32(packet, offset + 4) != self._sequence + self._size - start & 0xFFFFFFFF:
            return False
        if self._is_older(packet, offset + 8) or (start - offset == 32 and self._is_older(packet, offset + 24)):
            return False
        if offset == 20:
            # All but length, identification and checksum.
            if packet[1] != last[1] or packet[6:9] != last[6:9]:
                return False
        elif packet[:4] != last[:4] or packet[7] != last[7]:
            return False
        # First what memory can be short for: a run must not count bytes that it does not have.
        self._further.append(packet[start:])
        self._last = packet
        self._size += len(packet) - start
        return True

    def _is_older(self, packet: bytes, at: int) -> bool:
        """Whether a number, an acknowledgment or a timestamp, has gone back."""
        return (uint32(packet, at) - uint32(self._last, at) & 0xFFFFFFFF) >= _HALF

    @property
    def is_pushed(self) -> bool:
        """Whether the application is to get it at once, so that nothing more is merged."""
        return bool(self._last[self._offset + 13] & PSH)

    def packet(self) -> bytes:
        """The first one's number, all payloads, and the rest as the last one has it."""
        if not self._further:
            return self._last
        last, offset = self._last, self._offset
        payload = b"".join((memoryview(self._first)[self._start :], *self._further))
        area = last[offset + 20 : self._start]
        addresses = last[12:20] if offset == 20 else last[8:40]
        sums = address_sum(addresses) + ones_complement_sum(area) + ones_complement_sum(payload)
        fields = self._sequence, uint32(last, offset + 8), int(last[offset + 13]), uint16(last, offset + 18)
        return replaced(last, offset, fields, area, payload, sums)
