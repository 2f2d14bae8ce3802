"""What the daemon tells about one host whose identity it checked."""

import math
from dataclasses import dataclass

from tcpcryptd.control.address import Address
from tcpcryptd.control.errors import ControlProtocolError
from tcpcryptd.control.peer_record import PeerRecord


@dataclass(frozen=True, slots=True)
class HostRecord:
    """One host, by the address that connections with it have."""

    address: str
    peer: PeerRecord
    last_seen: float
    """Seconds since its last connection began or was refused, or its last authentic packet came, whatever was last."""
    connections: int
    """Encrypted ones now, of those that the asking user may see."""

    def to_json(self) -> dict[str, object]:
        """The object that stands in a message."""
        return {
            "address": self.address,
            "peer": self.peer.to_json(),
            "last_seen": round(self.last_seen, 3),
            "connections": self.connections,
        }

    @classmethod
    def from_json(cls, value: object) -> "HostRecord":
        """Reads the object of a message, ignoring what it does not know; raises ControlProtocolError."""
        if not isinstance(value, dict) or not isinstance(value.get("peer"), dict):
            raise ControlProtocolError("a host is not an object with a peer")
        seen, connections = value.get("last_seen"), value.get("connections")
        try:
            address = Address.from_json({"address": value.get("address"), "port": 1}).address
            peer = PeerRecord.from_json(value["peer"])
        except ValueError as error:
            raise ControlProtocolError(f"not a host: {error}") from error
        if isinstance(seen, bool) or not isinstance(seen, int | float) or not math.isfinite(seen) or seen < 0:
            raise ControlProtocolError("last_seen is not a number of seconds")
        if type(connections) is not int or connections < 0:
            raise ControlProtocolError("connections is not a number")
        return cls(address, peer, float(seen), connections)
