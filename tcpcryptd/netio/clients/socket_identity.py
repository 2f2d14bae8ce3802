"""Identifies the connection of a descriptor that a client passed."""

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.netio.clients.refusal import Refused

_SO_COOKIE = 57
_SO_NETNS_COOKIE = 71
"""asm-generic/socket.h; Linux 5.14."""
_COOKIE = struct.Struct("=Q")
_SYN_SENT, _SYN_RECEIVED = 2, 3
"""The first byte of struct tcp_info (linux/tcp.h)."""


@dataclass(frozen=True, slots=True)
class SocketIdentity:
    """A TCP socket of this network namespace. IPv4 on an IPv6 socket is given as IPv4."""

    local: Endpoint
    """Port 0: not bound."""
    remote: Endpoint | None
    """None: not connected, or listening."""
    cookie: int | None
    """The kernel's number for the socket, never used again; None: not known."""
    connecting: bool = False
    """The SYN is sent and not answered."""


def namespace_cookie(any_socket: socket.socket) -> bytes:
    """The kernel's number for the network namespace of a socket; raises OSError."""
    return any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, _COOKIE.size)


def identify(descriptor: int, namespace: bytes) -> SocketIdentity:
    """Looks at a descriptor, which stays the caller's; raises Refused.

    `namespace` is the cookie of the namespace that it must be in: in one of its own, anybody can give a socket any
    address. May block while another process has the socket locked.
    """
    try:
        with socket.socket(fileno=descriptor) as passed:
            try:
                return _identify(passed, namespace)
            finally:
                passed.detach()
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "EBADF")
        raise Refused(name, f"the descriptor: {error.strerror or error}") from error


def _identify(passed: socket.socket, namespace: bytes) -> SocketIdentity:
    if passed.family not in (socket.AF_INET, socket.AF_INET6) or passed.proto != socket.IPPROTO_TCP:
        raise Refused("EOPNOTSUPP", "not a TCP socket")
    if namespace_cookie(passed) != namespace:
        raise Refused("EACCES", "the socket belongs to another network namespace")
    state = passed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    (cookie,) = _COOKIE.unpack(passed.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, _COOKIE.size))
    try:
        remote = _endpoint(passed.getpeername())
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        remote = None
    return SocketIdentity(_endpoint(passed.getsockname()), remote, cookie, state in (_SYN_SENT, _SYN_RECEIVED))


def _endpoint(name: tuple[str, int]) -> Endpoint:
    address = ip_address(name[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return Endpoint(str(mapped or address), name[1])
