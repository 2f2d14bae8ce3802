"""The hosts with which connections must be encrypted, and how; they can change while the daemon runs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tcpcryptd.cli.config import Network
from tcpcryptd.core.config import EngineConfig

_REMEMBERED: Final = 1024
"""Addresses of which it is known whether they are in a set."""


class Destinations:
    """A set of networks."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self.replace(networks)

    def replace(self, networks: Iterable[Network]) -> None:
        """Replaces the networks."""
        self._policy = EngineConfig(required=tuple(networks))
        self._found: dict[str, bool] = {}

    def include(self, address: str) -> bool:
        """Whether the host is in one of them."""
        if not self._policy.required:
            return False
        found = self._found.get(address)
        if found is None:
            # It is asked several times for each connection, and takes as long as a packet.
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[address] = self._policy.requires(address)
        return found


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
