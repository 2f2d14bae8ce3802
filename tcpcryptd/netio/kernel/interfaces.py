"""The network interfaces of this host (rtnetlink(7), linux/if_link.h)."""

import logging
import socket
import struct
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tcpcryptd.netio.kernel import netlink

logger = logging.getLogger(__name__)

_ROUTE = 0
_GET_LINK = 18
_HEADER = struct.Struct("=BxHiII")
"""struct ifinfomsg."""
_UP = 0x1
_NAME, _LINK_INFO = 3, 18
_KIND = 1
_MAX_NAME = 15


class Link(NamedTuple):
    """An interface, as the kernel describes it."""

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
    """The VRF devices that rules can name alone, in order; none when the kernel does not say."""
    try:
        names = sorted(link.name for link in links() if link.kind == b"vrf")
    except OSError:
        return ()
    return tuple(name for name in names if _is_exact(name))


@cache
def _is_exact(name: str) -> bool:
    is_exact = is_interface_name(name) and not name.endswith("+")
    if not is_exact:
        logger.warning("VRF %r: rules cannot name it, so its packets pass the queue twice", name)
    return is_exact


def is_interface_name(name: str) -> bool:
    """Whether the firewall's rules can name it, where a + at the end stands for any name that begins so."""
    return (
        0 < len(name) <= _MAX_NAME
        and name.isascii()
        and name.isprintable()
        and name[0] not in "-!"
        # All interfaces, which is what no option means.
        and name != "+"
        and not set(name) & set(" /\"'\\")
    )
