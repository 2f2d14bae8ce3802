"""The hosts with which connections must be encrypted, and how; they can change while the daemon runs."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tcpcryptd.cli.config import Network
from tcpcryptd.core.config import EngineConfig


class Destinations:
    """A set of networks."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self.replace(networks)

    def replace(self, networks: Iterable[Network]) -> None:
        """Replaces the networks."""
        self._policy = EngineConfig(required=tuple(networks))

    def include(self, address: str) -> bool:
        """Whether the host is in one of them."""
        return bool(self._policy.required) and self._policy.requires(address)


@dataclass(frozen=True)
class LiveEngineConfig(EngineConfig):
    """An engine's configuration whose networks can change."""

    destinations: Destinations = field(default_factory=Destinations)
    post_quantum: Destinations = field(default_factory=Destinations)
    identified: Destinations = field(default_factory=Destinations)

    def requires(self, address: str) -> bool:
        """Whether connections with this host must be encrypted now."""
        return (
            self.destinations.include(address) or self.post_quantum.include(address) or self.identified.include(address)
        )

    def requires_post_quantum(self, address: str) -> bool:
        """Whether their keys must come from a post-quantum key agreement."""
        return self.post_quantum.include(address)

    def requires_identity(self, address: str) -> bool:
        """Whether the peer must have proved now who it is."""
        return self.identified.include(address)
