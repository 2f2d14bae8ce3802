"""The network interfaces of this host (rtnetlink(7), linux/if_link.h)."""

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from tcpcryptd.netio import netlink

_ROUTE = 0
_GET_LINK = 18
_HEADER = struct.Struct("=BxHiII")
"""struct ifinfomsg."""
_UP = 0x1
_NAME, _LINK_INFO = 3, 18
_KIND = 1


class Link(NamedTuple):
    """An interface as the kernel tells of it."""

    name: str
    is_up: bool
    attributes: dict[int, bytes]

    @property
    def kind(self) -> bytes:
        """Such as vrf or veth; empty for hardware."""
        return netlink.attributes(self.attributes.get(_LINK_INFO, b"")).get(_KIND, b"").rstrip(b"\0")


def interface_names() -> list[str]:
    """Those of this network namespace; raises OSError."""
    return [name for _, name in socket.if_nameindex()]


def links() -> Iterator[Link]:
    """Those of this network namespace, with all that the kernel tells of them; raises OSError."""
    request = netlink.message(_GET_LINK, netlink.REQUEST | netlink.DUMP, 0, _HEADER.pack(0, 0, 0, 0, 0))
    for answer in netlink.transact(_ROUTE, request):
        attributes = netlink.attributes(answer[_HEADER.size :])
        name = attributes.get(_NAME, b"").rstrip(b"\0").decode(errors="replace")
        yield Link(name, bool(_HEADER.unpack_from(answer)[3] & _UP), attributes)


def vrf_names() -> tuple[str, ...]:
    """The VRF devices, in order; none when the kernel does not say."""
    try:
        return tuple(sorted(link.name for link in links() if link.kind == b"vrf"))
    except OSError:
        return ()
