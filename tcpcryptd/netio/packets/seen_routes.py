"""The ways of connections whose packets rules of others have marked, behind ours.

In mangle OUTPUT, where the local kernel's packets are diverted, others have not yet marked them, nor has the kernel
looked for the route again. So a SYN that has a mark of others when it leaves is seen once more, in POSTROUTING. What
follows on its connection is given the mark: the kernel forgets whose a packet is that grows while it is with the daemon
(skb_copy_expand keeps no socket), so that rules by owner do not mark it again.
"""

from typing import Final

MAX_ROUTES: Final = 16384
_PLAIN_IPV4_HEADER: Final = 0x45
_SYN: Final = 0x02


class SeenRoutes:
    """By addresses and ports, for what goes out. The oldest is forgotten when there are too many."""

    def __init__(self) -> None:
        self.routes: dict[bytes, int] = {}
        """Empty where nobody marks packets."""

    def note(self, packet: bytes, route: int) -> None:
        """The way that a SYN leaves by (see `route`)."""
        flow = _flow(packet)
        self.routes.pop(flow, None)
        if len(self.routes) >= MAX_ROUTES:
            del self.routes[next(iter(self.routes))]
        self.routes[flow] = route

    def of(self, packet: bytes, otherwise: int) -> int:
        """The way of a packet's connection, if one was seen that is not over: a SYN begins another one."""
        flow = _flow(packet)
        flags = 33 if packet[0] == _PLAIN_IPV4_HEADER else 53
        if packet[flags : flags + 1] and packet[flags] & _SYN:
            self.routes.pop(flow, None)
        return self.routes.get(flow, otherwise)


def _flow(packet: bytes) -> bytes:
    return packet[12:24] if packet[0] >> 4 == 4 else packet[8:44]
