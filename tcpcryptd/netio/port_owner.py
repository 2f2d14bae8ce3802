"""Whose a local port is, as the kernel knows it (sock_diag(7), linux/inet_diag.h)."""

import errno
import socket
import struct
from ipaddress import ip_address
from typing import NamedTuple

from tcpcryptd.netio import netlink

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = struct.Struct("=BBBxI2s2s16s16sIQ")
"""struct inet_diag_req_v2: family, protocol, extensions, states, two ports, two addresses, interface, cookie."""
_REPLY = struct.Struct("=4x2s2x4s32xQ12xII")
"""struct inet_diag_msg: of its members the local port, the local IPv4 address, the cookie, the user and the inode."""
_ANY = "0.0.0.0", 0  # noqa: S104 (nothing is bound)
_NO_COOKIE = 0xFFFFFFFFFFFFFFFF
_ALL_STATES = 0xFFFFFFFF
_NOT_CONNECTED = 1 << 7 | 1 << 10 | 1 << 13
"""TCP_CLOSE, TCP_LISTEN and, from Linux 6.8 on, TCP_BOUND_INACTIVE."""
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
    wanted = ip_address(address).packed
    condition = netlink.attribute(_FILTER, _PORT_IS.pack(11, 8, 12, 0, 0, port))
    body = _request(socket.IPPROTO_TCP, _NOT_CONNECTED, _ANY, _ANY) + condition
    request = netlink.message(_SOCK_DIAG_BY_FAMILY, netlink.REQUEST | netlink.DUMP, 0, body)
    found = []
    for answer in netlink.transact(_NETLINK_SOCK_DIAG, request):
        if len(answer) >= _REPLY.size:
            local_port, local, cookie, user_id, inode = _REPLY.unpack_from(answer)
            if inode and (local, int.from_bytes(local_port, "big")) == (wanted, port):
                found.append(BoundSocket(user_id, cookie))
    return found


def datagram_owner(local: tuple[str, int], remote: tuple[str, int]) -> int | None:
    """The user ID of the UDP socket that gets what `remote` sends to `local` over loopback; raises OSError.

    None when there is no such socket. Both ends are IPv4.
    """
    # The kernel looks for who receives a datagram from the first end to the second.
    body = _request(socket.IPPROTO_UDP, _ALL_STATES, remote, local, socket.if_nametoindex("lo"))
    request = netlink.message(_SOCK_DIAG_BY_FAMILY, netlink.REQUEST | netlink.ACKNOWLEDGE, 0, body)
    try:
        answers = netlink.transact(_NETLINK_SOCK_DIAG, request)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    for answer in answers:
        if len(answer) >= _REPLY.size:
            *_, user_id, inode = _REPLY.unpack_from(answer)
            # The kernel gives user 0 for sockets that no process holds.
            return int(user_id) if inode else None
    return None


def _request(protocol: int, states: int, first: tuple[str, int], second: tuple[str, int], interface: int = 0) -> bytes:
    ports = [port.to_bytes(2, "big") for _, port in (first, second)]
    addresses = [ip_address(address).packed for address, _ in (first, second)]
    return _REQUEST.pack(socket.AF_INET, protocol, 0, states, *ports, *addresses, interface, _NO_COOKIE)
