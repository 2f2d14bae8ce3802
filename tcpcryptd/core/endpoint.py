"""An address and a port."""

from typing import NamedTuple


class Endpoint(NamedTuple):
    """One end of a connection."""

    address: str
    """IPv4 or IPv6, textual."""
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"
