"""One end of a connection, as it stands in messages."""

from ipaddress import ip_address
from typing import NamedTuple

MAX_PORT = 0xFFFF


class Address(NamedTuple):
    """An IP address as text (IPv4 or IPv6) and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def to_json(self) -> dict[str, object]:
        """The object that stands in a message."""
        return {"address": self.address, "port": self.port}

    @classmethod
    def from_json(cls, value: object) -> "Address":
        """Reads the object of a message; raises ValueError when it is not one."""
        if not isinstance(value, dict) or value.keys() != {"address", "port"}:
            raise ValueError("expected an object with address and port")
        address, port = value["address"], value["port"]
        if not isinstance(address, str) or not isinstance(port, int) or isinstance(port, bool):
            raise ValueError("expected address as a string and port as a whole number")
        if not 0 <= port <= MAX_PORT:
            raise ValueError(f"port {port} is not from 0 to {MAX_PORT}")
        return cls(str(ip_address(address)), port)
