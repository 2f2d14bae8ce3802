"""Asks the kernel about its sockets, and ends them (sock_diag(7), linux/inet_diag.h)."""

import errno
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from tcpcryptd.netio import netlink
from tcpcryptd.netio.conntrack import Flow

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
