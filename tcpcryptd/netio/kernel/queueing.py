"""Whether the way out of this host looks at the sockets that packets are of (tc(8), linux/rtnetlink.h)."""

import struct
import time
from typing import Final

from tcpcryptd.netio.kernel import netlink

_NETLINK_ROUTE: Final = 0
_GET_QDISC: Final = 38
_TC_MESSAGE: Final = struct.Struct("=BBHiIII")
"""struct tcmsg: family, padding, interface, handle, parent, info."""
_KIND: Final = 1
_LIFETIME: Final = 10.0
"""Seconds for which the kernel is not asked again."""
ALIKE: Final = frozenset(
    (
        *("bfifo", "cake", "clsact", "codel", "fq_codel", "fq_pie", "ingress", "mq", "netem", "noqueue", "pfifo"),
        *("pfifo_fast", "pfifo_head_drop", "pie", "red", "sfq", "tbf"),
    )
)
"""Queueing disciplines that treat a packet by what stands in it. Others pace by its socket (fq), or may classify by its
user, control group or priority."""


class QueueingDisciplines:
    """Those of all interfaces: a packet can come to that of another one than it is sent by, as with a VLAN."""

    def __init__(self) -> None:
        self._until = 0.0
        self._alike = False

    def treat_alike(self) -> bool:
        """Whether it makes no difference to them by which socket a segment was sent; False when it is not known."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + _LIFETIME
            self._alike = kinds() <= ALIKE
        return self._alike


def kinds() -> set[str]:
    """The names of all that are in use in this network namespace; the empty name when the kernel does not say."""
    request = netlink.message(_GET_QDISC, netlink.REQUEST | netlink.DUMP, 1, bytes(_TC_MESSAGE.size))
    try:
        answers = netlink.transact(_NETLINK_ROUTE, request)
    except OSError:
        return {""}
    found = (netlink.attributes(answer[_TC_MESSAGE.size :]).get(_KIND, b"") for answer in answers)
    return {kind.rstrip(b"\0").decode("ascii", "replace") for kind in found}
