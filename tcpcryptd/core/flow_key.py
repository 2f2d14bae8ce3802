"""The key of a connection: the bytes source | destination | source port | destination port of its headers."""

import struct
from functools import lru_cache
from ipaddress import ip_address

from tcpcryptd.core.endpoint import Endpoint


@lru_cache(maxsize=256)
def endpoints(key: bytes) -> tuple[Endpoint, Endpoint]:
    """Source and destination of a flow key; asked for several times while a connection begins."""
    half = (len(key) - 4) // 2
    source_port, destination_port = struct.unpack(">HH", key[-4:])
    return Endpoint(_text(key[:half]), source_port), Endpoint(_text(key[half:-4]), destination_port)


@lru_cache(maxsize=256)
def _text(address: bytes) -> str:
    # `ip_address` takes ten times as long, and is asked for every connection.
    return ".".join(map(str, address)) if len(address) == 4 else str(ip_address(address))


def peer_address(key: bytes) -> bytes:
    """The destination's address in a flow key, 4 or 16 bytes."""
    return key[(len(key) - 4) // 2 : -4]


def local_address(key: bytes) -> bytes:
    """The source's address in a flow key, 4 or 16 bytes."""
    return key[: (len(key) - 4) // 2]


def flow_key(source: Endpoint, destination: Endpoint) -> bytes:
    """The inverse of `endpoints`; raises ValueError for what is not an IP address or mixes two versions."""
    addresses = ip_address(source.address), ip_address(destination.address)
    if addresses[0].version != addresses[1].version:
        raise ValueError(f"{source.address} and {destination.address} are not of one IP version")
    return b"".join(address.packed for address in addresses) + struct.pack(">HH", source.port, destination.port)
