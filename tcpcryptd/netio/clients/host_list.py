"""The hosts at the other ends, as one user may see them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tcpcryptd.control.host_record import HostRecord
from tcpcryptd.control.peer_record import PeerRecord
from tcpcryptd.core.event import ConnectionInfo
from tcpcryptd.core.hosts import HostInfo
from tcpcryptd.core.peer_identity import PeerIdentity

MAX_HOSTS: Final = 4_096
"""In one list; connections with further hosts are not counted."""


@dataclass(slots=True)
class _Host:
    identity: PeerIdentity
    last_seen: float
    connections: int = 0


class HostList:
    """Hosts that are remembered, and those of connections that are added."""

    def __init__(self, remembered: Iterable[HostInfo]) -> None:
        self._hosts: dict[str, _Host] = {}
        for each in remembered:
            host = self._hosts.get(each.address)
            # Workers each have their own memory of a host that has connections with several of them.
            if host is None or host.last_seen <= each.last_seen:
                self._hosts[each.address] = _Host(each.identity, each.last_seen)

    def add(self, info: ConnectionInfo) -> None:
        """An open connection with a host that was identified."""
        host = self._hosts.get(info.remote.address)
        if host is None and info.identity is not None and len(self._hosts) < MAX_HOSTS:
            host = self._hosts[info.remote.address] = _Host(info.identity, info.last_seen)
        if host is not None:
            host.connections += 1
            host.last_seen = max(host.last_seen, info.last_seen)

    def records(self, now: float) -> Iterator[HostRecord]:
        """All of them, the one that was seen last first."""
        for address, host in sorted(self._hosts.items(), key=lambda item: -item[1].last_seen):
            age = max(0.0, now - host.last_seen)
            yield HostRecord(address, peer_record(host.identity), age, host.connections)


def peer_record(identity: PeerIdentity) -> PeerRecord:
    """What is told of an identity."""
    return PeerRecord(
        identity.outcome.value, identity.name or None, identity.fingerprint or None, identity.reason or None
    )
