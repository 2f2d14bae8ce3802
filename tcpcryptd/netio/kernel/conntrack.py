"""The TCP connections that the kernel tracks, by their mark (linux/netfilter/nfnetlink_conntrack.h)."""

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.netio.kernel import netlink

_NETLINK_NETFILTER = 12
_GET_CONNECTIONS = 1 << 8 | 1

_TUPLE_ORIGINAL, _TUPLE_REPLY, _PROTOCOL_INFO, _MARK, _MARK_MASK = 1, 2, 4, 8, 21
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IPV4_SOURCE, _IPV4_DESTINATION, _IPV6_SOURCE, _IPV6_DESTINATION = 1, 2, 3, 4
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_INFO_TCP, _INFO_TCP_STATE = 1, 1
_TIME_WAIT, _CLOSE = 7, 8
"""States (linux/netfilter/nf_conntrack_tcp.h)."""

_FAMILY_HEADER_SIZE = 4


class Flow(NamedTuple):
    """Source and destination of one direction, in network byte order."""

    source: bytes
    destination: bytes
    source_port: bytes
    destination_port: bytes

    @property
    def ends(self) -> tuple[Endpoint, Endpoint]:
        """Source and destination."""
        return _endpoint(self.source, self.source_port), _endpoint(self.destination, self.destination_port)


class TrackedConnection(NamedTuple):
    """Where addresses are translated, the reply is not the reverse of the original direction."""

    flows: tuple[Flow, ...]
    """The original direction and the reply."""
    is_over: bool
    """Both sides have closed it, or one has reset it."""


def tracked_connections(mark: int, mask: int) -> Iterator[TrackedConnection]:
    """Those whose mark is this one in the bits of the mask. Needs CAP_NET_ADMIN; raises OSError."""
    body = bytes(_FAMILY_HEADER_SIZE)
    body += netlink.attribute(_MARK, struct.pack(">I", mark))
    body += netlink.attribute(_MARK_MASK, struct.pack(">I", mask))
    request = netlink.message(_GET_CONNECTIONS, netlink.REQUEST | netlink.DUMP, 0, body)
    for answer in netlink.transact(_NETLINK_NETFILTER, request):
        attributes = netlink.attributes(answer[_FAMILY_HEADER_SIZE:])
        # A kernel that does not know the filter lists all.
        if int.from_bytes(attributes.get(_MARK, b""), "big") & mask != mark:
            continue
        flows = (_parse_flow(attributes.get(kind, b"")) for kind in (_TUPLE_ORIGINAL, _TUPLE_REPLY))
        state = netlink.attributes(netlink.attributes(attributes.get(_PROTOCOL_INFO, b"")).get(_INFO_TCP, b""))
        over = state.get(_INFO_TCP_STATE, b"")[:1] in (bytes((_TIME_WAIT,)), bytes((_CLOSE,)))
        yield TrackedConnection(tuple(flow for flow in flows if flow is not None), over)


def _parse_flow(data: bytes) -> Flow | None:
    parts = netlink.attributes(data)
    addresses = netlink.attributes(parts.get(_TUPLE_IP, b""))
    protocol = netlink.attributes(parts.get(_TUPLE_PROTOCOL, b""))
    if protocol.get(_NUMBER) != bytes((socket.IPPROTO_TCP,)):
        return None
    flow = Flow(
        addresses.get(_IPV4_SOURCE) or addresses.get(_IPV6_SOURCE, b""),
        addresses.get(_IPV4_DESTINATION) or addresses.get(_IPV6_DESTINATION, b""),
        protocol.get(_SOURCE_PORT, b""),
        protocol.get(_DESTINATION_PORT, b""),
    )
    return flow if len(flow.source) == len(flow.destination) in (4, 16) and len(flow.source_port) == 2 else None


def _endpoint(address: bytes, port: bytes) -> Endpoint:
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return Endpoint(socket.inet_ntop(family, address), int.from_bytes(port, "big"))
