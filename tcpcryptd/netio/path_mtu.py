"""The MTU of the path to a host, as far as the kernel has learnt it from ICMP (ip(7), IP_MTU)."""

import socket
from ipaddress import ip_address

_IP_MTU = 14
_IPV6_MTU = 24
_DISCARD_PORT = 9


def path_mtu(address: bytes) -> int | None:
    """Bytes of IP packet that reach the host with this address (4 or 16 bytes); None: the kernel does not say.

    Nothing is sent: connecting a UDP socket looks up the route.
    """
    version, level, option = (socket.AF_INET, socket.IPPROTO_IP, _IP_MTU)
    if len(address) == 16:
        version, level, option = (socket.AF_INET6, socket.IPPROTO_IPV6, _IPV6_MTU)
    try:
        with socket.socket(version, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.connect((str(ip_address(address)), _DISCARD_PORT))
            return probe.getsockopt(level, option)
    except OSError:
        return None
