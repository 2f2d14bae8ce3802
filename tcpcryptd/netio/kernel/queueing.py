"""Whether the way out of this host looks at the sockets that packets are of (tc(8), linux/rtnetlink.h)."""

import contextlib
import socket
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
"""Seconds after which is looked whether anything was changed."""
_CHANGES: Final = 1 << 1 - 1 | 1 << 4 - 1
"""Multicast groups: links, which get a discipline when they are set up, and disciplines (linux/rtnetlink.h)."""
_NOTICE_SIZE: Final = 4096
_MAX_NOTICES: Final = 64
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
        self._is_known = False
        self._notices: socket.socket | None = None

    def treat_alike(self) -> bool:
        """Whether it makes no difference to them by which socket a segment was sent; False when it is not known."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + _LIFETIME
            if self._have_changed() or not self._is_known:
                found = kinds()
                self._is_known = "" not in found
                self._alike = found <= ALIKE
        return self._alike

    def _have_changed(self) -> bool:
        """Whether the kernel has told of a change, or may have: to list those of 1,000 interfaces takes 2 ms."""
        if self._notices is None:
            with contextlib.suppress(OSError):
                self._notices = subscribe()
            return True
        changed = False
        try:
            for _ in range(_MAX_NOTICES):
                self._notices.recv(_NOTICE_SIZE)
                changed = True
        except BlockingIOError:
            return changed
        except OSError:
            # Some were lost.
            return True
        return True


def subscribe() -> socket.socket:
    """A socket that gets a message for each change; raises OSError."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    notices = socket.socket(socket.AF_NETLINK, kind, _NETLINK_ROUTE)
    try:
        notices.bind((0, _CHANGES))
    except OSError:
        notices.close()
        raise
    return notices


def kinds() -> set[str]:
    """The names of all that are in use in this network namespace; the empty name when the kernel does not say."""
    request = netlink.message(_GET_QDISC, netlink.REQUEST | netlink.DUMP, 1, bytes(_TC_MESSAGE.size))
    try:
        answers = netlink.transact(_NETLINK_ROUTE, request)
    except OSError:
        return {""}
    found = (netlink.attributes(answer[_TC_MESSAGE.size :]).get(_KIND, b"") for answer in answers)
    return {kind.rstrip(b"\0").decode("ascii", "replace") for kind in found}
