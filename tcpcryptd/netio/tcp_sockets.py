"""Which TCP sockets there are in this network namespace."""

import socket
from dataclasses import dataclass

from tcpcryptd.netio.sock_diag import ALL_STATES, TIME_WAIT, list_sockets


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
        for each in list_sockets(family, ALL_STATES & ~(1 << TIME_WAIT)):
            cookies.add(each.cookie)
            ports.add(int.from_bytes(each.flow.source_port, "big"))
    return TcpSockets(frozenset(cookies), frozenset(ports))


def reports_bound_sockets() -> bool:
    """Whether this kernel lists a socket that is bound and neither listens nor is connected; raises OSError."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1] in list_tcp_sockets().ports
