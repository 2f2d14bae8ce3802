"""Asks the kernel about its sockets and whose they are, and ends them (sock_diag(7), linux/inet_diag.h)."""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from tcpcryptd.netio.kernel import netlink
from tcpcryptd.netio.kernel.conntrack import Flow

PROTOCOL = 4
"""NETLINK_SOCK_DIAG."""
TIME_WAIT, CLOSE, LISTEN, NEW_SYN_RECV, BOUND_INACTIVE = 6, 7, 10, 12, 13
"""States (linux/tcp_states.h); the last from Linux 6.8 on."""
ALL_STATES = 0xFFFFFFFF
NOT_CONNECTED = 1 << CLOSE | 1 << LISTEN | 1 << BOUND_INACTIVE
"""A set of states."""
_BY_FAMILY, _DESTROY = 20, 21
_NO_COOKIE = 0xFFFFFFFFFFFFFFFF
_TIME_WAIT_TIMER = 3
_NO_OWNER = (TIME_WAIT, LISTEN, NEW_SYN_RECV)
_MAX_INTERFACES = 64
_FILTER = 1
_PORT_IS = struct.Struct("=BBHBBH")
"""Two struct inet_diag_bc_op: INET_DIAG_BC_S_EQ and its port. It ends at 8 (accept) or beyond, at 12 (refuse)."""

_REQUEST = struct.Struct("=BBBxI")
"""Start of struct inet_diag_req_v2: family, protocol, extensions, states."""
_IDENTITY = struct.Struct("=2s2s16s16sIQ")
"""struct inet_diag_sockid: two ports, two addresses, interface, cookie."""
_REPLY = struct.Struct("=BBBx48s12xII")
"""struct inet_diag_msg: family, state, timer, the ID, user and inode."""
_MAPPED = bytes(10) + b"\xff\xff"


class Socket(NamedTuple):
    """A socket as the kernel tells of it."""

    family: int
    state: int
    timer: int
    identity: bytes
    """A struct inet_diag_sockid, with the socket's cookie."""
    user_id: int
    inode: int
    """0: no process holds it, and the kernel gives user 0."""

    @property
    def flow(self) -> Flow:
        """From its local end to the remote one. IPv4 on an IPv6 socket is given as IPv4."""
        local_port, remote_port, local, remote, _, _ = _IDENTITY.unpack(self.identity)
        return Flow(self._address(local), self._address(remote), local_port, remote_port)

    @property
    def cookie(self) -> int:
        """The kernel's number for the socket, never used again."""
        return int(_IDENTITY.unpack(self.identity)[-1])

    @property
    def is_remnant(self) -> bool:
        """Of the connection only what TIME_WAIT needs is left, or FIN_WAIT_2 without an application: no data."""
        return self.timer == _TIME_WAIT_TIMER

    def _address(self, field: bytes) -> bytes:
        if self.family == socket.AF_INET:
            return field[:4]
        return field[12:] if field.startswith(_MAPPED) else field


def list_sockets(family: int, states: int = ALL_STATES, condition: bytes = b"") -> Iterator[Socket]:
    """The TCP sockets of a family in these states; `condition` is an attribute. Raises OSError.

    IPv4 on an IPv6 socket is one of AF_INET6. With TCP_BOUND_INACTIVE, Linux 6.8 and later also report sockets that are
    bound and nothing more.
    """
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, states) + bytes(_IDENTITY.size) + condition
    request = netlink.message(_BY_FAMILY, netlink.REQUEST | netlink.DUMP, 0, body)
    yield from filter(None, map(_parse, netlink.transact(PROTOCOL, request)))


def find_socket(
    flow: Flow, interface: int = 0, protocol: int = socket.IPPROTO_TCP, kernel: socket.socket | None = None
) -> Socket | None:
    """The socket that gets what the flow's destination sends to its source: also one that listens. Raises OSError.

    One that is bound to an interface is found with that one alone. `kernel`: a netlink socket for PROTOCOL.
    """
    try:
        answers = _ask(_BY_FAMILY, protocol, _family(flow), _identity(flow, interface, _NO_COOKIE), kernel)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return None
    return next(filter(None, map(_parse, answers)), None)


def destroy(target: Socket) -> bool:
    """Ends a TCP socket; False when it is gone. Needs CAP_NET_ADMIN; raises OSError, EOPNOTSUPP among others."""
    return _destroy(target.family, target.identity)


def can_destroy() -> bool:
    """Whether the kernel ends sockets at all (CONFIG_INET_DIAG_DESTROY). Raises OSError: EPERM."""
    nowhere = Flow(bytes(4), bytes(4), bytes(2), bytes(2))
    try:
        # No socket has this cookie.
        _destroy(socket.AF_INET, _identity(nowhere, 0, 0))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return False
        raise
    return True


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


class SocketOwners:
    """Asks the kernel of the network namespace in which it was made; raises OSError when it cannot be asked."""

    def __init__(self) -> None:
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, PROTOCOL)
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
        flow = _flow_between(local, remote)
        owner = self._owner_of(flow, 0)
        if owner is None:
            # A socket bound to an interface (all with link-local addresses are) is found by that interface alone.
            interfaces = (index for index, _ in socket.if_nameindex()[:_MAX_INTERFACES])
            owner = next((found for index in interfaces if (found := self._owner_of(flow, index)) is not None), None)
        return owner

    def _owner_of(self, flow: Flow, interface: int) -> int | None:
        found = find_socket(flow, interface, kernel=self._kernel)
        return found.user_id if found is not None and found.inode and found.state not in _NO_OWNER else None


def _destroy(family: int, identity: bytes) -> bool:
    try:
        _ask(_DESTROY, socket.IPPROTO_TCP, family, identity)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    return True


def _ask(kind: int, protocol: int, family: int, identity: bytes, kernel: socket.socket | None = None) -> list[bytes]:
    body = _REQUEST.pack(family, protocol, 0, ALL_STATES) + identity
    request = netlink.message(kind, netlink.REQUEST | netlink.ACKNOWLEDGE, 0, body)
    return netlink.transact(PROTOCOL, request) if kernel is None else netlink.ask(kernel, request)


def _identity(flow: Flow, interface: int, cookie: int) -> bytes:
    addresses = flow.source.ljust(16, b"\0"), flow.destination.ljust(16, b"\0")
    return _IDENTITY.pack(flow.source_port, flow.destination_port, *addresses, interface, cookie)


def _family(flow: Flow) -> int:
    return socket.AF_INET if len(flow.source) == 4 else socket.AF_INET6


def _parse(answer: bytes) -> Socket | None:
    return Socket(*_REPLY.unpack_from(answer)) if len(answer) >= _REPLY.size else None


def _flow_between(local: tuple[str, int], remote: tuple[str, int]) -> Flow:
    addresses = _packable(local[0]), _packable(remote[0])
    if addresses[0].version != addresses[1].version:
        raise ValueError("the two ends have addresses of different families")
    if not all(0 <= port <= 0xFFFF for _, port in (local, remote)):
        raise ValueError("not a port")
    return Flow(*(each.packed for each in addresses), *(port.to_bytes(2, "big") for _, port in (local, remote)))


def _packable(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
