"""Whether what is sent to an address gets to the local kernel, as its routing tables have it (rtnetlink(7)).

Asked for each packet that the daemon makes for the local kernel: it holds what must not be seen on the wire, and an
address can be taken from this host while a connection is open.
"""

import socket
import struct

from tcpcryptd.netio import netlink

_NETLINK_ROUTE = 0
_ROUTE_ANSWER, _GET_ROUTE = 24, 26
_DESTINATION, _INTERFACE_OUT = 1, 4
_LOCAL = 2
_ROUTE_MESSAGE = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, the two prefix lengths, TOS, table, protocol, scope, type, flags."""
_TYPE = 7
_RECEIVE_SIZE = 8192


class LocalAddresses:
    """Asks the kernel of the network namespace in which it was made; raises OSError when it cannot be asked."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        # The kernel answers within the system call that asks: nothing is waited for.
        self._kernel = socket.socket(socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        self._kernel.connect((0, 0))
        self._asked = 0

    def has(self, address: bytes, interface: int) -> bool:
        """By way of an interface, which must be the address's or of the same VRF; 0: of any, but in no VRF."""
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        body = _ROUTE_MESSAGE.pack(family, 8 * len(address), 0, 0, 0, 0, 0, 0, 0)
        body += netlink.attribute(_DESTINATION, address)
        if interface:
            body += netlink.attribute(_INTERFACE_OUT, struct.pack("=I", interface))
        self._asked = self._asked + 1 & 0x7FFFFFFF
        self._kernel.send(netlink.message(_GET_ROUTE, netlink.REQUEST, self._asked, body))
        for kind, asked, answer in netlink.messages(self._kernel.recv(_RECEIVE_SIZE)):
            if kind == _ROUTE_ANSWER and asked == self._asked and len(answer) >= _ROUTE_MESSAGE.size:
                return bool(answer[_TYPE] == _LOCAL)
        return False

    def close(self) -> None:
        """Closes the netlink socket."""
        self._kernel.close()
