"""Ends the local sockets of connections that are marked as encrypted.

Without the rules and the daemon their kernel would send on in clear. Which they are is known to connection tracking;
sock_diag ends them (linux/sock_diag.h, SOCK_DESTROY).
"""

import errno
import socket
import struct
from collections.abc import Iterator

from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio import netlink
from tcpcryptd.netio.conntrack import Flow, tracked_connections
from tcpcryptd.netio.marks import MarkScheme

_NETLINK_SOCK_DIAG = 4
_SOCK_DESTROY = 21

_ALL_STATES = 0xFFFFFFFF


def end_encrypted_sockets(marks: MarkScheme) -> int:
    """Ends them, in both roles and at both ends on loopback; the number of sockets. Needs CAP_NET_ADMIN.

    Raises OSError, EOPNOTSUPP among others, when the kernel does not list connections or does not end sockets.
    """
    return sum(_end(flow) for flow in _encrypted_flows(marks))


def can_end_sockets() -> bool:
    """Whether the kernel ends sockets at all, asked with a connection that cannot be. Raises OSError: EPERM."""
    nowhere = Flow(bytes(4), bytes(4), bytes(2), bytes(2))
    try:
        netlink.transact(_NETLINK_SOCK_DIAG, _destroy_request(nowhere, 0))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return False
        if error.errno != errno.ENOENT:
            raise
    return True


def _end(flow: Flow) -> bool:
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


def _encrypted_flows(marks: MarkScheme) -> Iterator[Flow]:
    for connection_class in ConnectionClass:
        if connection_class.is_encrypted:
            for connection in tracked_connections(marks.of_class(connection_class), marks.mask):
                # The opener's socket sends the original direction, the acceptor's the reply.
                yield from connection.flows


def _destroy_request(flow: Flow, interface: int) -> bytes:
    family = socket.AF_INET if len(flow.source) == 4 else socket.AF_INET6
    # struct inet_diag_req_v2: family, protocol, extensions, states; then the socket's ID, without cookie.
    body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, _ALL_STATES)
    body += flow.source_port + flow.destination_port
    body += flow.source.ljust(16, b"\0") + flow.destination.ljust(16, b"\0")
    body += struct.pack("=I", interface) + b"\xff" * 8
    return netlink.message(_SOCK_DESTROY, netlink.REQUEST | netlink.ACKNOWLEDGE, 0, body)
