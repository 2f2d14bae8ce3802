"""The configuration of the core."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from tcpcryptd.core import limits


@dataclass(frozen=True)
class EngineConfig:
    """Policy and bounds of one engine."""

    offers: tuple[str, ...] = ("crypt",)
    """The protocols that are offered to peers, by name; a peer that did not answer one is offered the next."""
    answers: tuple[str, ...] | None = None
    """The protocols in which peers are answered; None: all."""
    required: tuple[IPv4Network | IPv6Network, ...] = ()
    """Destinations whose connections fail if they cannot be encrypted."""
    required_post_quantum: tuple[IPv4Network | IPv6Network, ...] = ()
    """Destinations whose connections fail without a post-quantum key agreement."""
    required_identity: tuple[IPv4Network | IPv6Network, ...] = ()
    """Hosts with which connections fail, whoever opens them, unless the peer has proved who it is."""
    max_connections: int = limits.MAX_CONNECTIONS
    max_opening: int = limits.MAX_OPENING
    max_closed: int = limits.MAX_CLOSED
    max_plain_records: int = limits.MAX_PLAIN_RECORDS
    max_sessions: int = limits.MAX_SESSIONS
    """Sessions that wait to be resumed; 0: none is ever resumed."""
    session_lifetime: float = limits.SESSION_LIFETIME
    """Seconds."""
    max_options: int = limits.MAX_OPTIONS
    max_peers: int = limits.MAX_PEERS
    peer_lifetime: float = limits.PEER_LIFETIME
    """Seconds for which a host is not offered a protocol again that it did not answer, if there are others."""
    peer_trust: float = limits.PEER_TRUST
    """Seconds for which a host is offered a protocol that it once answered, although it seems to decline it."""

    def requires(self, address: str) -> bool:
        """Whether connections with this host must be encrypted."""
        return _is_in(address, self.required) or self.requires_post_quantum(address) or self.requires_identity(address)

    def requires_post_quantum(self, address: str) -> bool:
        """Whether their keys must come from a post-quantum key agreement."""
        return _is_in(address, self.required_post_quantum)

    def requires_identity(self, address: str) -> bool:
        """Whether the peer must have proved who it is, also when it opens the connection."""
        return _is_in(address, self.required_identity)


def _is_in(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return bool(networks) and any(ip_address(address) in network for network in networks)
