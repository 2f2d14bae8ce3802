"""What is known of one host that was asked who it is, from the engine to whoever asks."""

import math
from dataclasses import dataclass

from tcpcryptd.records.address import Address
from tcpcryptd.records.connection_info import PeerInfo
from tcpcryptd.records.json_codec import decode_named, encode


@dataclass(frozen=True, slots=True)
class HostInfo:
    """One host, by the address that connections with it have; raises ValueError for what makes no sense."""

    address: str
    peer: PeerInfo
    """By its last connection."""
    last_seen: float
    """When that was identified or refused, or its last authentic segment once it is over; seconds as in the engine. In
    messages and for clients: seconds since."""
    connections: int = 0
    """Connections that are encrypted now, of those that the asking user may see."""

    def __post_init__(self) -> None:
        Address.from_json({"address": self.address, "port": 1})
        if not math.isfinite(self.last_seen) or min(self.last_seen, self.connections) < 0:
            raise ValueError("a number is negative or not finite")

    def to_message(self) -> dict[str, object]:
        """The object that stands in a message of the control protocol."""
        row: dict[str, object] = encode(self)
        return row | {"last_seen": round(self.last_seen, 3)}

    @classmethod
    def from_message(cls, value: object) -> "HostInfo":
        """Reads that object, ignoring what it does not know; raises ValueError."""
        return decode_named("host", cls, value)
