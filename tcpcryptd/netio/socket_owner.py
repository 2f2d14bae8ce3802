"""Whose a TCP socket is, as the kernel knows it."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from tcpcryptd.netio.conntrack import Flow
from tcpcryptd.netio.sock_diag import LISTEN, NEW_SYN_RECV, PROTOCOL, TIME_WAIT, find_socket

_NO_OWNER = (TIME_WAIT, LISTEN, NEW_SYN_RECV)
_MAX_INTERFACES = 64


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
        flow = _flow(local, remote)
        owner = self._ask(flow, 0)
        if owner is None:
            # A socket bound to an interface (all with link-local addresses are) is found by that interface alone.
            interfaces = (index for index, _ in socket.if_nameindex()[:_MAX_INTERFACES])
            owner = next((found for index in interfaces if (found := self._ask(flow, index)) is not None), None)
        return owner

    def _ask(self, flow: Flow, interface: int) -> int | None:
        found = find_socket(flow, interface, kernel=self._kernel)
        return found.user_id if found is not None and found.inode and found.state not in _NO_OWNER else None


def _flow(local: tuple[str, int], remote: tuple[str, int]) -> Flow:
    addresses = _address(local[0]), _address(remote[0])
    if addresses[0].version != addresses[1].version:
        raise ValueError("the two ends have addresses of different families")
    if not all(0 <= port <= 0xFFFF for _, port in (local, remote)):
        raise ValueError("not a port")
    return Flow(*(each.packed for each in addresses), *(port.to_bytes(2, "big") for _, port in (local, remote)))


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
