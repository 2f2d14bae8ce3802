"""Ends the local sockets of connections that are marked as encrypted.

Without the rules and the daemon their kernel would send on in clear. Which they are is known to connection tracking
(linux/netfilter/nfnetlink_conntrack.h); sock_diag ends them (linux/sock_diag.h, SOCK_DESTROY).
"""

import errno
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio import netlink
from tcpcryptd.netio.marks import MarkScheme

_NETLINK_SOCK_DIAG = 4
_NETLINK_NETFILTER = 12
_GET_CONNECTIONS = 1 << 8 | 1
_SOCK_DESTROY = 21

_TUPLE_ORIGINAL, _TUPLE_REPLY, _MARK, _MARK_MASK = 1, 2, 8, 21
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IPV4_SOURCE, _IPV4_DESTINATION, _IPV6_SOURCE, _IPV6_DESTINATION = 1, 2, 3, 4
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3

_ALL_STATES = 0xFFFFFFFF
_FAMILY_HEADER_SIZE = 4


class _Flow(NamedTuple):
    """Source and destination in network byte order."""

    source: bytes
    destination: bytes
    source_port: bytes
    destination_port: bytes


def end_encrypted_sockets(marks: MarkScheme) -> int:
    """Ends them, in both roles and at both ends on loopback; the number of sockets. Needs CAP_NET_ADMIN.

    Raises OSError, EOPNOTSUPP among others, when the kernel does not list connections or does not end sockets.
    """
    return sum(_end(flow) for flow in _encrypted_flows(marks))


def count_forwarded(marks: MarkScheme) -> int:
    """How many tracked connections of hosts behind this one are encrypted. Needs CAP_NET_ADMIN; raises OSError."""
    classes = (each for each in ConnectionClass if each.is_encrypted)
    return sum(len(list(_flows_marked(marks.of_forwarded(each), marks))) for each in classes) // 2


def can_end_sockets() -> bool:
    """Whether the kernel ends sockets at all, asked with a connection that cannot be. Raises OSError: EPERM."""
    nowhere = _Flow(bytes(4), bytes(4), bytes(2), bytes(2))
    try:
        netlink.transact(_NETLINK_SOCK_DIAG, _destroy_request(nowhere, 0))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return False
        if error.errno != errno.ENOENT:
            raise
    return True


def _end(flow: _Flow) -> bool:
    """Whether there was such a socket: the connection may be another host's, and the socket gone."""
    # One that is bound to an interface is found by that interface alone.
    for interface in (0, *(index for index, _ in socket.if_nameindex())):
        try:
            netlink.transact(_NETLINK_SOCK_DIAG, _destroy_request(flow, interface))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        else:
            return True
    return False


def _encrypted_flows(marks: MarkScheme) -> Iterator[_Flow]:
    for connection_class in ConnectionClass:
        if connection_class.is_encrypted:
            yield from _flows_marked(marks.of_class(connection_class), marks)


def _flows_marked(wanted: int, marks: MarkScheme) -> Iterator[_Flow]:
    body = bytes(_FAMILY_HEADER_SIZE)
    body += netlink.attribute(_MARK, struct.pack(">I", wanted))
    body += netlink.attribute(_MARK_MASK, struct.pack(">I", marks.mask))
    request = netlink.message(_GET_CONNECTIONS, netlink.REQUEST | netlink.DUMP, 0, body)
    for answer in netlink.transact(_NETLINK_NETFILTER, request):
        connection = netlink.attributes(answer[_FAMILY_HEADER_SIZE:])
        mark = int.from_bytes(connection.get(_MARK, b""), "big")
        if mark & marks.mask != wanted:
            continue
        # The opener's socket sends the original direction, the acceptor's the reply.
        for kind in (_TUPLE_ORIGINAL, _TUPLE_REPLY):
            flow = _parse_flow(connection.get(kind, b""))
            if flow is not None:
                yield flow


def _parse_flow(data: bytes) -> _Flow | None:
    parts = netlink.attributes(data)
    addresses = netlink.attributes(parts.get(_TUPLE_IP, b""))
    protocol = netlink.attributes(parts.get(_TUPLE_PROTOCOL, b""))
    if protocol.get(_NUMBER) != bytes((socket.IPPROTO_TCP,)):
        return None
    flow = _Flow(
        addresses.get(_IPV4_SOURCE) or addresses.get(_IPV6_SOURCE, b""),
        addresses.get(_IPV4_DESTINATION) or addresses.get(_IPV6_DESTINATION, b""),
        protocol.get(_SOURCE_PORT, b""),
        protocol.get(_DESTINATION_PORT, b""),
    )
    return flow if len(flow.source) == len(flow.destination) in (4, 16) and len(flow.source_port) == 2 else None


def _destroy_request(flow: _Flow, interface: int) -> bytes:
    family = socket.AF_INET if len(flow.source) == 4 else socket.AF_INET6
    # struct inet_diag_req_v2: family, protocol, extensions, states; then the socket's ID, without cookie.
    body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, _ALL_STATES)
    body += flow.source_port + flow.destination_port
    body += flow.source.ljust(16, b"\0") + flow.destination.ljust(16, b"\0")
    body += struct.pack("=I", interface) + b"\xff" * 8
    return netlink.message(_SOCK_DESTROY, netlink.REQUEST | netlink.ACKNOWLEDGE, 0, body)
