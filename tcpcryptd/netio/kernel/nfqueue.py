"""Messages of nfnetlink_queue: configuration that the NetfilterQueue library cannot send, and diverted packets.

The library's way to a packet costs twice the time of this one, and cuts what is longer than 4016 bytes.

Source: linux/netfilter/nfnetlink_queue.h. Attribute values and the queue number are in network byte order.
"""

import struct
import sys
from typing import Final

from librt.strings import read_i16_be, read_i16_le, read_i32_be, read_i32_le
from mypy_extensions import i64

from tcpcryptd.netio.kernel import netlink
from tcpcryptd.wire.words import uint32

_MESSAGE_PACKET: Final = 3 << 8 | 0
_MESSAGE_CONFIG: Final = 3 << 8 | 2
_PACKET_HEADER: Final = 1
_MARK: Final = 3
_INTERFACE_IN: Final = 5
_INTERFACE_OUT: Final = 6
_PAYLOAD: Final = 10
_CONNECTION: Final = 11
_PARAMETERS: Final = 2
_MAXIMUM_LENGTH: Final = 3
_FLAG_MASK: Final = 4
_FLAGS: Final = 5
_COPY_PACKET: Final = 2
_FLAG_CONNECTION: Final = 2
_FLAG_GSO: Final = 4

_ATTRIBUTES_OFFSET: Final = 20
"""After struct nlmsghdr and struct nfgenmsg."""
_COPIED_WHOLE: Final = 4096
"""Bytes: a slice of a copy costs less than one of the buffer."""
_HEAD_SIZE: Final = 1024
"""Bytes: more than all that stands before the packet."""
_TYPE_MASK: Final = 0x3FFF
_IS_LITTLE: Final = sys.byteorder == "little"

MAX_COPY_RANGE: Final = 65531
"""Bytes; the kernel cuts longer copies to what an attribute can hold."""


def configuration(queue_number: int, sequence: int, length: int, gso: bool, tracked: bool = False) -> bytes:
    """A request to copy whole packets, and to hold up to `length` of them.

    With `gso` the kernel does not segment them first, with `tracked` it says what connection tracking knows.
    """
    body = struct.pack(">BBH", 0, 0, queue_number)
    body += netlink.attribute(_PARAMETERS, struct.pack(">IB", MAX_COPY_RANGE, _COPY_PACKET))
    body += netlink.attribute(_MAXIMUM_LENGTH, struct.pack(">I", length))
    flags = (_FLAG_GSO if gso else 0) | (_FLAG_CONNECTION if tracked else 0)
    if flags:
        body += netlink.attribute(_FLAG_MASK, struct.pack(">I", flags))
        body += netlink.attribute(_FLAGS, struct.pack(">I", flags))
    return netlink.message(_MESSAGE_CONFIG, netlink.REQUEST | netlink.ACKNOWLEDGE, sequence, body)


def is_acknowledgment(data: bytes, sequence: int) -> bool:
    """Whether this is the answer to that request; raises OSError when the kernel refused it."""
    return any(
        answered == sequence and netlink.is_acknowledgment(kind, body)
        for kind, answered, body in netlink.messages(data)
    )


class DivertedPacket:
    """A packet that waits for a verdict."""

    def __init__(self, identifier: int, hook: int, mark: int, interface: int, payload: bytes, message: bytes) -> None:
        self.identifier = identifier
        """By which the kernel knows it. Its bytes are taken and given back as they are, in no order of ours."""
        self.hook = hook
        """Where it was diverted (linux/netfilter.h)."""
        self.mark = mark
        self.interface = interface
        """The number of the interface that it leaves by or, where that is not known yet, that it came by."""
        self.payload = payload
        """The packet, from its IP header on."""
        self._message = message

    def tracked(self) -> bytes:
        """What connection tracking knows (linux/netfilter/nfnetlink_conntrack.h); empty unless it was asked for."""
        start, end = find_attribute(self._message, _ATTRIBUTES_OFFSET, len(self._message), _CONNECTION)
        return self._message[start:end]


def diverted_packet(buffer: memoryview, length: int) -> DivertedPacket | None:
    """The packet in a message of that length at the start of the buffer; None for other messages.

    A packet that there is no memory for is empty, so that it gets a verdict all the same.
    """
    if length < _ATTRIBUTES_OFFSET:
        return None
    data = buffer[: length if length < _COPIED_WHOLE else _HEAD_SIZE].tobytes()
    if _uint16(data, 4) != _MESSAGE_PACKET:
        return None
    available = len(data)
    identifier = hook = -1
    mark = interface = 0
    payload = b""
    offset = _ATTRIBUTES_OFFSET
    while offset + 4 <= available:
        size, kind = _uint16(data, offset), _uint16(data, offset + 2)
        end = offset + size
        if size < 4 or end > length:
            break
        offset += 4
        if kind == _PAYLOAD:
            payload = data[offset:end] if available == length else _taken(buffer, offset, end)
        elif end > available:
            break
        elif kind == _PACKET_HEADER and size >= 11:
            identifier, hook = _uint32(data, offset), data[offset + 6]
        elif kind == _MARK and size >= 8:
            mark = uint32(data, offset)
        elif _INTERFACE_IN <= kind <= _INTERFACE_OUT and size >= 8:
            # They come in this order.
            interface = uint32(data, offset)
        offset = end + 3 & ~3
    return DivertedPacket(identifier, hook, mark, interface, payload, data) if hook >= 0 else None


def find_attribute(data: bytes, start: int, end: int, kind: int) -> tuple[int, int]:
    """Where the value of an attribute between `start` and `end` begins and ends; both are `end` when there is none."""
    while start + 4 <= end:
        size = _uint16(data, start)
        if size < 4 or start + size > end:
            break
        if _uint16(data, start + 2) & _TYPE_MASK == kind:
            return start + 4, start + size
        start += size + 3 & ~3
    return end, end


def _taken(buffer: memoryview, start: int, end: int) -> bytes:
    try:
        return buffer[start:end].tobytes()
    except MemoryError:
        return b""


def _uint16(data: bytes, offset: int) -> int:
    """In host byte order; for the rest see tcpcryptd.wire.words."""
    at = i64(offset)
    return int(i64(read_i16_le(data, at) if _IS_LITTLE else read_i16_be(data, at)) & 0xFFFF)


def _uint32(data: bytes, offset: int) -> int:
    at = i64(offset)
    return int(i64(read_i32_le(data, at) if _IS_LITTLE else read_i32_be(data, at)) & 0xFFFFFFFF)
