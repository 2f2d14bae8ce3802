"""Which TCP sockets there are in this network namespace (sock_diag(7), linux/inet_diag.h)."""

import socket
import struct
from dataclasses import dataclass

from tcpcryptd.netio import netlink

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_ALL_STATES = 0xFFFFFFFF
"""With TCP_BOUND_INACTIVE, for which Linux 6.8 and later also report sockets that are bound and nothing more."""
_REPLY = struct.Struct("=4x2s38xQ")
"""struct inet_diag_msg up to the cookie: the local port, in network byte order, and the cookie."""
_TIME_WAIT = 6


@dataclass(frozen=True, slots=True)
class TcpSockets:
    """The sockets at one moment."""

    cookies: frozenset[int]
    ports: frozenset[int]
    """Local ports; sockets in TIME_WAIT do not count."""


def list_tcp_sockets() -> TcpSockets:
    """Asks the kernel; raises OSError."""
    cookies, ports = set(), set()
    for family in (socket.AF_INET, socket.AF_INET6):
        body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, _ALL_STATES) + bytes(48)
        request = netlink.message(_SOCK_DIAG_BY_FAMILY, netlink.REQUEST | netlink.DUMP, 0, body)
        for answer in netlink.transact(_NETLINK_SOCK_DIAG, request):
            if len(answer) >= _REPLY.size and answer[1] != _TIME_WAIT:
                port, cookie = _REPLY.unpack_from(answer)
                cookies.add(cookie)
                ports.add(int.from_bytes(port, "big"))
    return TcpSockets(frozenset(cookies), frozenset(ports))


def reports_bound_sockets() -> bool:
    """Whether this kernel lists a socket that is bound and neither listens nor is connected; raises OSError."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1] in list_tcp_sockets().ports
