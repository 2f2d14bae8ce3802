"""Hosts whose identity was checked, also those without a connection now."""

from collections import OrderedDict
from collections.abc import Iterator

from tcpcryptd.core.flow_key import endpoints
from tcpcryptd.core.peer_identity import PeerIdentity
from tcpcryptd.records.connection_info import PeerInfo
from tcpcryptd.records.host_info import HostInfo

__all__ = ["HostInfo", "HostTable", "peer_info"]


def peer_info(identity: PeerIdentity) -> PeerInfo:
    """What is told of an identity."""
    name, key, reason = (each or None for each in (identity.name, identity.fingerprint, identity.reason))
    return PeerInfo(identity.outcome.value, name, key, reason)


class HostTable:
    """The hosts of the last connections. The one without a new connection for the longest time makes room."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._hosts: OrderedDict[str, tuple[PeerIdentity, float]] = OrderedDict()
        """By address: who it was last, and when."""

    def __iter__(self) -> Iterator[HostInfo]:
        return iter([HostInfo(address, peer_info(identity), seen) for address, (identity, seen) in self._hosts.items()])

    def saw(self, key: bytes, identity: PeerIdentity | None, now: float) -> None:
        """A connection with a host has begun, was refused, or is over; `key`: of what the local host sends."""
        if identity is None:
            return
        address = endpoints(key)[1].address
        before = self._hosts.get(address)
        if before is not None and before[1] > now:
            # Another connection has shown more since.
            return
        self._hosts[address] = identity, now
        self._hosts.move_to_end(address)
        if len(self._hosts) > self._size:
            self._hosts.popitem(last=False)
