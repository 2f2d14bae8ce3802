"""Whose a local port is, as the kernel knows it."""

import socket
import struct
from ipaddress import ip_address
from typing import NamedTuple

from tcpcryptd.netio import netlink
from tcpcryptd.netio.conntrack import Flow
from tcpcryptd.netio.sock_diag import NOT_CONNECTED, find_socket, list_sockets

_FILTER = 1
_PORT_IS = struct.Struct("=BBHBBH")
"""Two struct inet_diag_bc_op: INET_DIAG_BC_S_EQ and its port. It ends at 8 (accept) or beyond, at 12 (refuse)."""


class BoundSocket(NamedTuple):
    """A TCP socket that is bound, or listens."""

    user_id: int
    cookie: int


def bound_sockets(address: str, port: int) -> list[BoundSocket]:
    """The IPv4 TCP sockets that are bound to exactly this end and not connected; raises OSError.

    Those that do not listen are only found from Linux 6.8 on.
    """
    wanted = ip_address(address).packed, port.to_bytes(2, "big")
    condition = netlink.attribute(_FILTER, _PORT_IS.pack(11, 8, 12, 0, 0, port))
    return [
        BoundSocket(each.user_id, each.cookie)
        for each in list_sockets(socket.AF_INET, NOT_CONNECTED, condition)
        if each.inode and (each.flow.source, each.flow.source_port) == wanted
    ]


def datagram_owner(local: tuple[str, int], remote: tuple[str, int]) -> int | None:
    """The user ID of the UDP socket that gets what `remote` sends to `local` over loopback; raises OSError.

    None when there is no such socket. Both ends are IPv4.
    """
    addresses = [ip_address(address).packed for address, _ in (remote, local)]
    ports = [port.to_bytes(2, "big") for _, port in (remote, local)]
    # The kernel looks for who receives a datagram from the first end to the second.
    found = find_socket(Flow(*addresses, *ports), socket.if_nametoindex("lo"), socket.IPPROTO_UDP)
    return found.user_id if found is not None and found.inode else None
