"""What the kernel's routing tables say (rtnetlink(7))."""

import socket
import struct
import time

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
_LIFETIME = 1.0
"""Seconds for which the kernel is not asked the same again."""
_MAX_KEPT = 1024


class KernelRoutes:
    """Asks the kernel of the network namespace in which it was made; raises OSError when it cannot be asked."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        # The kernel answers within the system call that asks: nothing is waited for.
        self._kernel = socket.socket(socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        self._kernel.connect((0, 0))
        self._asked = 0
        self._kept: dict[tuple[bytes, int], tuple[float, int]] = {}

    def is_local(self, address: bytes, interface: int) -> bool:
        """Whether what is sent there gets to the local kernel.

        By way of an interface, which must be the address's or of the same VRF; 0: of any, but in no VRF.
        """
        wanted = [netlink.attribute(_INTERFACE_OUT, struct.pack("=I", interface))] if interface else []
        answer = self._ask(address, b"", wanted)
        return len(answer) > _TYPE and answer[_TYPE] == _LOCAL

    def interface(self, packet: bytes, route: int) -> int:
        """By which a TCP segment leaves when its socket is bound to none; 0: by none."""
        flow = packet[12:24] if packet[0] >> 4 == 4 else packet[8:44]
        now = time.monotonic()
        kept = self._kept.get((flow, route))
        if kept is not None and now < kept[0]:
            return kept[1]
        half = (len(flow) - 4) // 2
        wanted = [
            netlink.attribute(_MARK, struct.pack("=I", mark_of(route))),
            netlink.attribute(_PROTOCOL, bytes((socket.IPPROTO_TCP,))),
            netlink.attribute(_SOURCE_PORT, flow[-4:-2]),
            netlink.attribute(_DESTINATION_PORT, flow[-2:]),
        ]
        answer = self._ask(flow[half:-4], flow[:half], wanted)
        found = netlink.attributes(answer[_ROUTE_MESSAGE.size :]).get(_INTERFACE_OUT, b"")
        interface = struct.unpack("=I", found)[0] if len(found) == struct.calcsize("=I") else 0
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[flow, route] = now + _LIFETIME, interface
        return int(interface)

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
        """Closes the netlink socket."""
        self._kernel.close()
