"""Raw sockets whose packets take the route of the connection that they belong to.

The kernel looks for the way of a raw socket's packet before the firewall sees it: for protocol 255, and with the mark
that says whose packet it is. In mangle OUTPUT a rule of ours takes that mark away, and since the mark has changed the
kernel looks again, now by the packet's own addresses, protocol and ports, by the mark bits of others, and by the
interface that the socket is bound to (ip_route_me_harder). So rules of policy routing and policies of IPsec hold as for
what the connection's own socket sends. The control messages are for the first time, which has to find some way.
"""

import contextlib
import errno
import socket
import struct
from typing import Final

from tcpcryptd.netio.kernel.route import FORWARDED, interface_of, mark_of
from tcpcryptd.netio.kernel.routing_tables import KernelRoutes

INWARD_PRIORITY: Final = 0x74637064
"""SO_PRIORITY of packets injected towards the local kernel, on the loopback interface, which ignores it.

Rules of nft know it by this when rules of others have taken its mark away.
"""
SO_BINDTOIFINDEX: Final = 62
IP_PKTINFO: Final = 8
IP_PROTOCOL: Final = 52
IPV6_PKTINFO: Final = 50
_IPV6_FREEBIND: Final = 78
_MTU_DISCOVER: Final = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
_PMTUDISC_PROBE: Final = 3
"""ip(7), IP_MTU_DISCOVER."""
_NO_WAY: Final = (
    *(errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN),
    *(errno.ENODEV, errno.ENXIO, errno.EINVAL, errno.EADDRNOTAVAIL),
)
_LINK_LOCAL: Final = b"\xfe\x80"

Control = tuple[int, int, bytes]
"""Level, type and data of a control message."""


class RawSocket:
    """Of one IP version; `mark` is on all that it sends."""

    def __init__(self, raw: socket.socket, version: int, mark: int, routes: KernelRoutes) -> None:
        self.socket = raw
        self.version = version
        self._mark = mark
        self._routes = routes
        self._interface = 0
        self._names_protocol = True
        """Where IPsec policies are looked up, it is said that it is TCP. Linux before 6.4 refuses that."""

    def take(self, packet: bytes, route: int) -> None:
        """Binds to the interface of a route, if it is still there, and if the packet would not take it anyway.

        The connection's packets were seen before rules of others marked them: these may lead them to another one.
        """
        interface = interface_of(route)
        free = not route & FORWARDED and not destination_of(packet).startswith(_LINK_LOCAL)
        if interface and free and self._routes.interface(packet, route) == interface:
            interface = 0
        if interface != self._interface:
            try:
                self._bind(interface)
            except OSError:
                self._bind(0)

    def _bind(self, interface: int) -> None:
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, interface)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
            # Linux before 5.0.
            name = socket.if_indextoname(interface).encode() if interface else b""
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        self._interface = interface

    def relents(self, error: OSError) -> bool:
        """Whether a refused packet can be tried again with less control data about its route."""
        if error.errno == errno.EINVAL and self._names_protocol:
            self._names_protocol = False
            return True
        if error.errno in _NO_WAY and self._interface:
            self._bind(0)
            return True
        return False

    def name(self, packet: bytes) -> tuple[bytes, int, int]:
        """The destination of a packet, and what IPv6 has for port and scope."""
        return (
            destination_of(packet),
            socket.IPPROTO_TCP if self._names_protocol else 0,
            self._interface,
        )

    def control(self, packet: bytes, route: int) -> list[Control]:
        """The control messages of a packet: its source address and the interface, the mark, and the protocol."""
        source = packet[12:16] if self.version == 4 else packet[8:24]
        if self.version == 6:
            found = [(int(socket.IPPROTO_IPV6), IPV6_PKTINFO, struct.pack("@16sI", source, self._interface))]
        else:
            found = [(int(socket.IPPROTO_IP), IP_PKTINFO, struct.pack("@i4s4x", self._interface, source))]
            if self._names_protocol:
                found.append((socket.IPPROTO_IP, IP_PROTOCOL, struct.pack("@i", socket.IPPROTO_TCP)))
        if mark_of(route):
            found.append((socket.SOL_SOCKET, socket.SO_MARK, struct.pack("@I", self._mark | mark_of(route))))
        return found

    def send(self, packet: bytes, route: int) -> None:
        """Sends a packet by the route of its connection; raises OSError."""
        self.take(packet, route)
        while True:
            destination, port, scope = self.name(packet)
            address = socket.inet_ntop(socket.AF_INET if self.version == 4 else socket.AF_INET6, destination)
            try:
                to = (address, 0) if self.version == 4 else (address, port, 0, scope)
                self.socket.sendmsg((packet,), self.control(packet, route), 0, to)
            except OSError as error:
                if self.relents(error):
                    continue
                raise
            return

    def close(self) -> None:
        """Closes it."""
        self.socket.close()


def destination_of(packet: bytes) -> bytes:
    """The address that an IP packet is for: 4 or 16 bytes."""
    return packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]


def open_raw(version: int, mark: int, send_buffer: int, routes: KernelRoutes, priority: int = 0) -> RawSocket:
    """A socket with that mark, and that SO_PRIORITY; raises OSError, EAFNOSUPPORT where the kernel has no IPv6."""
    # IPPROTO_RAW implies that the caller writes the IP header, with IPv6 as well (raw(7)).
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, priority)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        # The interface's MTU is the limit: the kernel has been told less of the path than it carries (core.path_mtu).
        raw.setsockopt(*_MTU_DISCOVER[version], _PMTUDISC_PROBE)
        if version == 6:
            # The source of a forwarded packet is no address of this host.
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    except OSError:
        raw.close()
        raise
    return RawSocket(raw, version, mark, routes)


def blamed_for(number: int | None) -> str:
    """What is to blame for an error, as far as it can be told."""
    if number == errno.EPERM:
        return ": a firewall rule drops packets of this user, such as one with -m owner; tcpcryptd doctor names it"
    if number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES):
        return ": no route by address, mark and interface of its connection; see ip rule and ip route"
    return ""
