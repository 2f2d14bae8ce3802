"""Configuration messages of nfnetlink_queue that the NetfilterQueue library cannot send.

Source: linux/netfilter/nfnetlink_queue.h. Attribute values and the queue number are in network byte order.
"""

import struct

from tcpcryptd.netio import netlink

_MESSAGE_CONFIG = 3 << 8 | 2
_PARAMETERS, _MAXIMUM_LENGTH, _FLAG_MASK, _FLAGS = 2, 3, 4, 5
_COPY_PACKET = 2
_FLAG_GSO = 4

MAX_COPY_RANGE = 65531
"""Bytes; the kernel cuts longer copies to what an attribute can hold."""


def configuration(queue_number: int, sequence: int, length: int, gso: bool) -> bytes:
    """A request to copy whole packets, to hold up to `length` of them, and with `gso` not to segment them first."""
    body = struct.pack(">BBH", 0, 0, queue_number)
    body += netlink.attribute(_PARAMETERS, struct.pack(">IB", MAX_COPY_RANGE, _COPY_PACKET))
    body += netlink.attribute(_MAXIMUM_LENGTH, struct.pack(">I", length))
    if gso:
        body += netlink.attribute(_FLAG_MASK, struct.pack(">I", _FLAG_GSO))
        body += netlink.attribute(_FLAGS, struct.pack(">I", _FLAG_GSO))
    return netlink.message(_MESSAGE_CONFIG, netlink.REQUEST | netlink.ACKNOWLEDGE, sequence, body)


def is_acknowledgment(data: bytes, sequence: int) -> bool:
    """Whether this is the answer to that request; raises OSError when the kernel refused it."""
    return any(
        answered == sequence and netlink.is_acknowledgment(kind, body)
        for kind, answered, body in netlink.messages(data)
    )
