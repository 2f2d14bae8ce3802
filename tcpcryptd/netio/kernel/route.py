"""The way of a connection's own packets, in one number, which the engine keeps for each connection.

The mark bits of others, and above them the interface that the local kernel's last packet left by. What the daemon makes
itself is to go the same way.
"""

from typing import Final

INTERFACE_SHIFT: Final = 32
FORWARDED: Final = 1 << 60
"""The connection is one of a host behind this one."""
LOOPBACK: Final = 1
"""The number of the interface `lo` (linux/net_namespace.h)."""
_MARK: Final = 0xFFFFFFFF


def interface_of(route: int) -> int:
    """Its number; 0: any. What goes to an address of this host takes `lo`, whatever interface the address is on."""
    interface = (route & ~FORWARDED) >> INTERFACE_SHIFT
    return 0 if interface == LOOPBACK else interface


def mark_of(route: int) -> int:
    """The bits of others, in their places."""
    return route & _MARK
