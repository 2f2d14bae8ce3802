"""Whose a TCP socket is, as the kernel knows it (sock_diag(7), linux/inet_diag.h)."""

import contextlib
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_HEADER = struct.Struct("=LHHLL")
"""Length, type, flags, sequence number, port; host byte order."""
_REQUEST = struct.Struct("=BBBxI")
"""Start of inet_diag_req_v2: family, protocol, extensions, states."""
_NO_COOKIE = b"\xff" * 8
_REPLY = struct.Struct("=BBBB48x12xII")
"""inet_diag_msg: family, state, timer, retransmissions, (the ID, expiry and queues), uid, inode."""
_TIME_WAIT, _LISTEN, _NEW_SYN_RECV = 6, 10, 12
_ALL_STATES = 0xFFFFFFFF
_RECEIVE_BYTES = 8192
_MAX_INTERFACES = 64

Addresses = tuple[IPv4Address | IPv6Address, int, IPv4Address | IPv6Address, int]


class SocketOwners:
    """Asks the kernel of the network namespace in which it was made; raises OSError when it cannot be asked."""

    def __init__(self) -> None:
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
        self._kernel.connect((0, 0))
        # The kernel answers within the system call that asks: nothing is waited for.
        self._kernel.setblocking(False)

    def close(self) -> None:
        """Closes the netlink socket."""
        self._kernel.close()

    def owner(self, local: tuple[str, int], remote: tuple[str, int]) -> int | None:
        """The user ID of the local TCP socket between two ends (address, port), IPv4 or IPv6.

        An IPv6 socket with an IPv4 connection is found by its IPv4 addresses. None when there is no such connection, or
        when no process holds its socket: TIME_WAIT, closed by its application, not accepted yet. Raises ValueError for
        what is not an IP address or a port, and OSError when the kernel cannot be asked.
        """
        flow = _addresses(local, remote)
        owner = self._ask(flow, 0)
        if owner is None:
            # A socket bound to an interface (all with link-local addresses are) is found by that interface alone.
            interfaces = (index for index, _ in socket.if_nameindex()[:_MAX_INTERFACES])
            owner = next((found for index in interfaces if (found := self._ask(flow, index)) is not None), None)
        return owner

    def _ask(self, flow: Addresses, interface: int) -> int | None:
        local, local_port, remote, remote_port = flow
        body = (
            _REQUEST.pack(socket.AF_INET if local.version == 4 else socket.AF_INET6, socket.IPPROTO_TCP, 0, _ALL_STATES)
            + struct.pack("!HH", local_port, remote_port)
            + local.packed.ljust(16, b"\0")
            + remote.packed.ljust(16, b"\0")
            + struct.pack("=I", interface)
            + _NO_COOKIE
        )
        length = _NLMSG_HEADER.size + len(body)
        self._kernel.send(_NLMSG_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0) + body)
        return _read_owner(self._kernel.recv(_RECEIVE_BYTES))


def _addresses(local: tuple[str, int], remote: tuple[str, int]) -> Addresses:
    flow = _address(local[0]), local[1], _address(remote[0]), remote[1]
    if flow[0].version != flow[2].version:
        raise ValueError("the two ends have addresses of different families")
    if not (0 <= flow[1] <= 0xFFFF and 0 <= flow[3] <= 0xFFFF):
        raise ValueError("not a port")
    return flow


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _read_owner(message: bytes) -> int | None:
    """The answer of the kernel to one request; an error message (ENOENT: no such socket) is None."""
    with contextlib.suppress(struct.error):
        _, kind, *_ = _NLMSG_HEADER.unpack_from(message)
        if kind == _SOCK_DIAG_BY_FAMILY:
            _, state, _, _, uid, inode = _REPLY.unpack_from(message, _NLMSG_HEADER.size)
            # The kernel gives user 0 for sockets that no process holds.
            if inode and state not in (_TIME_WAIT, _LISTEN, _NEW_SYN_RECV):
                return int(uid)
    return None
