"""The MTU of the path to a host, as far as the kernel has learnt it from ICMP (ip(7), IP_MTU)."""

import socket
import time

_IP_MTU = 14
_IPV6_MTU = 24
_LIFETIME = 1.0
"""Seconds for which the kernel is not asked the same again."""
_MAX_KEPT = 1024


def path_mtu(address: bytes) -> int | None:
    """Bytes of IP packet that reach the host with this address (4 or 16 bytes); None: the kernel does not say.

    Less what a policy of IPsec for TCP adds. Nothing is sent: connecting a raw socket looks up the route. Raises
    nothing; without CAP_NET_RAW the kernel does not say.
    """
    version, level, option = (socket.AF_INET, socket.IPPROTO_IP, _IP_MTU)
    if len(address) == 16:
        version, level, option = (socket.AF_INET6, socket.IPPROTO_IPV6, _IPV6_MTU)
    try:
        with socket.socket(version, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_TCP) as probe:
            probe.connect((socket.inet_ntop(version, address), 0))
            return probe.getsockopt(level, option)
    except OSError:
        return None


class RecentPathMtu:
    """What `path_mtu` has said lately: for SYNs, of which many can come, and for each it takes four system calls."""

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[float, int | None]] = {}

    def __call__(self, address: bytes) -> int | None:
        """See `path_mtu`."""
        now = time.monotonic()
        kept = self._kept.get(address)
        if kept is not None and now < kept[0]:
            return kept[1]
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        found = path_mtu(address)
        self._kept[address] = now + _LIFETIME, found
        return found
