"""Builds whole packets of an open connection at little cost: they can have 64 KiB."""

import struct
from typing import Final

from tcpcryptd.core.protocol import Gathered
from tcpcryptd.eno.stream.frame import Buffer
from tcpcryptd.wire import options
from tcpcryptd.wire.checksum import address_sum, ones_complement_sum
from tcpcryptd.wire.header import written
from tcpcryptd.wire.segment import Segment
from tcpcryptd.wire.words import uint16, uint32

TIMESTAMP_PREFIX: Final = b"\x01\x01\x08\x0a"
TIMESTAMP_AREA: Final = 12
"""NOP NOP timestamp: what the kernel sends in most segments."""

_GATHERED: Final = 1 << 15
"""Bytes of payload from which on it is not copied behind its headers. Two such packets never go up as one."""

_UINT16: Final = struct.Struct(">H")
_BLOCK: Final = struct.Struct(">II")


class Fields:
    """The fields of a TCP header besides the ports."""

    __slots__ = ("acknowledgment", "flags", "sequence", "urgent", "window")

    def __init__(self, sequence: int, acknowledgment: int, flags: int, window: int, urgent: int = 0) -> None:
        self.sequence = sequence
        self.acknowledgment = acknowledgment
        self.flags = flags
        self.window = window
        self.urgent = urgent


class PacketBuilder:
    """Makes the packets of one direction of a connection."""

    __slots__ = ("_address_sum", "_ports")

    def __init__(self, key: bytes) -> None:
        """`key`: the flow key, source first."""
        self._address_sum = address_sum(key[:-4])
        self._ports = uint32(key, len(key) - 4)

    def checksum_is_right(self, packet: bytes, offset: int) -> bool:
        """Whether the TCP checksum fits, or the kernel has verified it and left the sum of the pseudo header there."""
        constant = self._address_sum + len(packet) - offset
        if uint16(packet, offset + 16) == constant % 65535:
            return True
        return (constant + ones_complement_sum(memoryview(packet)[offset:])) % 65535 == 0

    def build(
        self,
        ip_header: bytes,
        fields: Fields,
        area: bytes,
        payload: Buffer,
        *,
        checksum: bool = True,
        index: int = 0,
    ) -> bytes:
        """A packet with the IP header of another one; `area` has a multiple of four bytes.

        `index`: so many packets that were cut from the same one come before.

        Without `checksum` it is left to the kernel, which makes it when it cuts the packet into segments.
        """
        return b"".join((self._head(ip_header, fields, area, payload, checksum, index), payload))

    def gather(
        self, ip_header: bytes, fields: Fields, area: bytes, payload: Buffer, *, checksum: bool = True
    ) -> bytes | Gathered:
        """The same in two pieces when it is large."""
        head = self._head(ip_header, fields, area, payload, checksum, 0)
        return b"".join((head, payload)) if len(payload) < _GATHERED else Gathered(head, payload)

    def _head(
        self, ip_header: bytes, fields: Fields, area: bytes, payload: Buffer, checksum: bool, index: int
    ) -> bytes:
        sums = None
        if checksum:
            sums = self._address_sum + ones_complement_sum(area) + ones_complement_sum(payload)
        numbers = fields.sequence, fields.acknowledgment, fields.flags, fields.window, fields.urgent
        return written(ip_header, self._ports, numbers, area, len(payload), sums, index)


def is_marked(ip_header: bytes) -> bool:
    """Whether a router has marked the packet instead of dropping it: CE (RFC 3168 section 5)."""
    return ip_header[1] & _ecn_bits(ip_header) == _ecn_bits(ip_header)


def marked(ip_header: bytes) -> bytes:
    """The header with CE."""
    header = bytearray(ip_header)
    header[1] |= _ecn_bits(ip_header)
    if header[0] >> 4 == 4:
        total = (_UINT16.unpack_from(header, 10)[0] ^ 0xFFFF) + header[1] - ip_header[1]
        _UINT16.pack_into(header, 10, total % 65535 ^ 0xFFFF)
    return bytes(header)


def _ecn_bits(ip_header: bytes) -> int:
    """Of the second byte."""
    return 0x03 if ip_header[0] >> 4 == 4 else 0x30


def timestamp_area(packet: bytes, offset: int, area: bytes) -> bytes:
    """The timestamp option of a segment as the kernel lays it out, 12 bytes; empty without one."""
    if len(area) >= TIMESTAMP_AREA and area[:4] == TIMESTAMP_PREFIX:
        return area[:TIMESTAMP_AREA]
    value = Segment(packet, offset).option(options.TIMESTAMP)
    return TIMESTAMP_PREFIX + value if value is not None and len(value) == 8 else b""


def stamps(area: bytes) -> tuple[int, int]:
    """TSval and TSecr of such a timestamp area (RFC 7323 section 3.2)."""
    return uint32(area, 4), uint32(area, 8)


def sack_option(blocks: list[tuple[int, int]], room: int) -> bytes:
    """A selective acknowledgment of as many blocks of sequence numbers as fit, behind two NOP (RFC 2018 section 3)."""
    fitting = blocks[: max((room - 4) // 8, 0)]
    if not fitting:
        return b""
    return b"\x01\x01" + options.encode(options.SACK, b"".join(_BLOCK.pack(*block) for block in fitting))


def sack_blocks(packet: bytes, offset: int) -> list[tuple[int, int]]:
    """The blocks of a segment's selective acknowledgment; none when it has none or its length is wrong."""
    value = Segment(packet, offset).option(options.SACK)
    if value is None or len(value) % _BLOCK.size:
        return []
    return list(_BLOCK.iter_unpack(value))
