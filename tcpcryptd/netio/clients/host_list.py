"""The hosts at the other ends, as one user may see them."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from tcpcryptd.core.event import ConnectionInfo
from tcpcryptd.records.host_info import HostInfo

MAX_HOSTS: Final = 4_096
"""In one list; connections with further hosts are not counted."""


class HostList:
    """Hosts that are remembered, and those of connections that are added."""

    def __init__(self, remembered: Iterable[HostInfo]) -> None:
        self._hosts: dict[str, HostInfo] = {}
        for each in remembered:
            host = self._hosts.get(each.address)
            # Workers each have their own memory of a host that has connections with several of them.
            if host is None or host.last_seen <= each.last_seen:
                self._hosts[each.address] = each

    def add(self, info: ConnectionInfo) -> None:
        """An open connection with a host that was identified."""
        address = info.remote.address
        host = self._hosts.get(address)
        if host is None and info.peer is not None and len(self._hosts) < MAX_HOSTS:
            host = HostInfo(address, info.peer, info.last_seen)
        if host is not None:
            last_seen = max(host.last_seen, info.last_seen)
            self._hosts[address] = replace(host, connections=host.connections + 1, last_seen=last_seen)

    def told(self, now: float) -> Iterator[HostInfo]:
        """All of them as clients are told, the one that was seen last first."""
        for host in sorted(self._hosts.values(), key=lambda host: -host.last_seen):
            yield replace(host, last_seen=max(0.0, now - host.last_seen))
