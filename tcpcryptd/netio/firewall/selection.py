"""Which TCP connections are diverted to the daemon."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from tcpcryptd.netio.kernel.interfaces import is_interface_name

Network = IPv4Network | IPv6Network

SELF_ENCRYPTED_PORTS = (22, 443, 563, 614, 636, 684, 695, 853, 989, 990, 992, 993, 994, 995, 8443)
"""Ports whose protocols carry their own encryption."""

MAX_ALTERNATIVES = 256
"""Ports, interfaces or networks; each is a firewall rule."""


@dataclass(frozen=True)
class Selection:
    """The connections that are selected on all counts. Raises ValueError for what iptables would not understand.

    A connection's port is the one that its opener connected to, in either role of the local host.
    """

    ports: tuple[int, ...] = ()
    """These alone; empty: all except those that carry their own encryption."""
    exclude_ports: tuple[int, ...] = ()
    """In addition to those that carry their own encryption."""
    all_ports: bool = False
    """Also those that carry their own encryption."""
    interfaces: tuple[str, ...] = ()
    """Names; empty: all."""
    addresses: tuple[Network, ...] = ()
    """Networks of the remote host; empty: all."""
    forward: tuple[str, ...] = ()
    """Names of interfaces that lead to hosts on whose behalf forwarded connections are encrypted; empty: none."""
    loopback: bool = False
    """Also connections within this host, which `interfaces` can name as well."""
    require: tuple[Network, ...] = ()
    """Networks to which no connection that is opened here goes on while no daemon is there; others do."""
    require_identity: tuple[Network, ...] = ()
    """The same for connections in either direction."""

    def __post_init__(self) -> None:
        for port in self.ports + self.exclude_ports:
            if not 1 <= port <= 0xFFFF:
                raise ValueError(f"port {port}: must be from 1 to 65535")
        for interface in self.interfaces + self.forward:
            if not is_interface_name(interface):
                raise ValueError(f"interface {interface!r}: not a name of a network interface")
        for alternatives in (self.ports, self.exclude_ports, self.interfaces, self.addresses, self.forward):
            if len(alternatives) > MAX_ALTERNATIVES:
                raise ValueError(f"{len(alternatives)} alternatives: more than {MAX_ALTERNATIVES}")

    @property
    def excluded(self) -> tuple[int, ...]:
        """All ports that are left out, in order."""
        by_default = () if self.all_ports or self.ports else SELF_ENCRYPTED_PORTS
        return tuple(sorted({*by_default, *self.exclude_ports}))

    @property
    def leaves_loopback(self) -> bool:
        """Whether connections within this host are left alone."""
        return not self.loopback and LOOPBACK not in self.interfaces


LOOPBACK = "lo"
"""The name that every network namespace has for it."""
