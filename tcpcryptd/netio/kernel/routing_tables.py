"""What the kernel's routing tables say (rtnetlink(7))."""

import socket
import struct
import time
from typing import Final

from tcpcryptd.netio.kernel import netlink
from tcpcryptd.netio.kernel.route import mark_of

_NETLINK_ROUTE = 0
_ROUTE_ANSWER, _GET_ROUTE = 24, 26
_DESTINATION, _SOURCE, _INTERFACE_OUT, _MARK = 1, 2, 4, 16
_PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT = 27, 28, 29
_LOCAL = 2
_ROUTE_MESSAGE = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, the two prefix lengths, TOS, table, protocol, scope, type, flags."""
_TYPE = 7
_RECEIVE_SIZE = 8192
_LIFETIME: Final = 1.0
"""Seconds for which the kernel is not asked the same again, unless it has told of a change."""
_MAX_KEPT: Final = 1024
_CHANGES: Final = sum(1 << group - 1 for group in (1, 5, 7, 8, 9, 11, 19))
"""Multicast groups: links, and the addresses, routes and rules of IPv4 and IPv6 (linux/rtnetlink.h)."""
_MAX_NOTICES: Final = 64


class KernelRoutes:
    """Asks the kernel of the network namespace in which it was made; raises OSError when it cannot be asked."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        # The kernel answers within the system call that asks: nothing is waited for.
        self._kernel = socket.socket(socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        self._kernel.connect((0, 0))
        self._notices = socket.socket(socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        self._notices.bind((0, _CHANGES))
        self._asked = 0
        self._kept: dict[tuple[bytes, int], tuple[float, int]] = {}

    def is_local(self, address: bytes, interface: int) -> bool:
        """Whether what is sent there gets to the local kernel.

        By way of an interface, which must be the address's or of the same VRF; 0: of any, but in no VRF.
        """
        kept = self._known(address, interface)
        if kept is None:
            wanted = [netlink.attribute(_INTERFACE_OUT, struct.pack("=I", interface))] if interface else []
            answer = self._ask(address, b"", wanted)
            kept = int(len(answer) > _TYPE and answer[_TYPE] == _LOCAL)
            self._keep(address, interface, kept)
        return kept != 0

    def interface(self, packet: bytes, route: int) -> int:
        """By which a TCP segment leaves when its socket is bound to none; 0: by none."""
        flow = packet[12:24] if packet[0] >> 4 == 4 else packet[8:44]
        kept = self._known(flow, route)
        if kept is not None:
            return kept
        half = (len(flow) - 4) // 2
        wanted = [
            netlink.attribute(_MARK, struct.pack("=I", mark_of(route))),
            netlink.attribute(_PROTOCOL, bytes((socket.IPPROTO_TCP,))),
            netlink.attribute(_SOURCE_PORT, flow[-4:-2]),
            netlink.attribute(_DESTINATION_PORT, flow[-2:]),
        ]
        answer = self._ask(flow[half:-4], flow[:half], wanted)
        found = netlink.attributes(answer[_ROUTE_MESSAGE.size :]).get(_INTERFACE_OUT, b"")
        interface = int(struct.unpack("=I", found)[0]) if len(found) == struct.calcsize("=I") else 0
        self._keep(flow, route, interface)
        return interface

    def _known(self, what: bytes, way: int) -> int | None:
        """What the kernel has said not long ago, if nothing has changed since: a system call instead of three."""
        try:
            for _ in range(_MAX_NOTICES):
                self._notices.recv(1)
                self._kept.clear()
        except BlockingIOError:
            pass
        except OSError:
            # There were more than the socket could hold.
            self._kept.clear()
        kept = self._kept.get((what, way))
        return kept[1] if kept is not None and time.monotonic() < kept[0] else None

    def _keep(self, what: bytes, way: int, answer: int) -> None:
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[what, way] = time.monotonic() + _LIFETIME, answer

    def _ask(self, destination: bytes, source: bytes, wanted: list[bytes]) -> bytes:
        """The answer without its header; empty: no route."""
        family = socket.AF_INET if len(destination) == 4 else socket.AF_INET6
        body = _ROUTE_MESSAGE.pack(family, 8 * len(destination), 8 * len(source), 0, 0, 0, 0, 0, 0)
        body += netlink.attribute(_DESTINATION, destination)
        body += netlink.attribute(_SOURCE, source) if source else b""
        self._asked = self._asked + 1 & 0x7FFFFFFF
        self._kernel.send(netlink.message(_GET_ROUTE, netlink.REQUEST, self._asked, body + b"".join(wanted)))
        for kind, asked, answer in netlink.messages(self._kernel.recv(_RECEIVE_SIZE)):
            if kind == _ROUTE_ANSWER and asked == self._asked:
                return answer
        return b""

    def close(self) -> None:
        """Closes the netlink sockets."""
        self._kernel.close()
        self._notices.close()
