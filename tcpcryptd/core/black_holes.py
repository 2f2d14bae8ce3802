"""Hosts from which SYNs with an option of ours get no answer, but bare ones do: they get no offer for a while.

Packets are lost for other reasons as well. So the first suspicion is short, and shorter still for a host with which a
connection was encrypted lately. Then one connection tries again, and each trial that fails doubles the time. Cases
that overlap in time count once, since they can have one cause that passes. So an attacker who drops such SYNs is
remembered for about as long as the attack lasted. An attacker can also own addresses that swallow SYNs, and make this
host connect to them. Therefore a suspicion about a whole network does not hold for hosts with which a connection was
encrypted lately.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

_IPV4, _IPV4_NETWORK, _IPV6_NETWORK = 4, 3, 8
"""Bytes of an address, and of the part that all hosts of a local network have in common, as far as can be guessed."""


class Times(NamedTuple):
    """Seconds without an offer."""

    first: float
    trusted: float
    """The same for a host with which a connection was encrypted lately."""
    longest: float
    network: float
    """The longest time for a whole network."""
    trial: float
    """The time of one trial: longer than it takes until a bare SYN is answered."""


@dataclass(slots=True)
class _BlackHole:
    wait: float = 0.0
    """Seconds between the latest case and a trial; 0: none has come yet."""
    struck: float = 0.0
    """When the latest case was seen: what began before that is part of it."""
    until: float = 0.0
    """When one connection may try again."""

    def strike(self, now: float, first: float, usual: float, longest: float) -> None:
        """A case, seen at `now`: the wait is `first`, then `usual`, and doubles up to `longest`."""
        self.wait = min(max(2 * self.wait, usual), longest) if self.wait else first
        self.struck = now
        self.until = now + self.wait


@dataclass(slots=True)
class _Network(_BlackHole):
    row: set[bytes] = field(default_factory=set)
    """The hosts that were struck one after the other, without one that answered, before there were enough of them."""


class BlackHoles:
    """Destinations by local network, and local networks as a whole; bounded."""

    def __init__(self, times: Times, max_hosts: int, max_networks: int, row: int) -> None:
        """`row`: hosts in a row whose offers are swallowed, until nothing is offered to any host."""
        self._times = times
        self._hosts: OrderedDict[bytes, _BlackHole] = OrderedDict()
        self._networks: OrderedDict[bytes, _Network] = OrderedDict()
        self._max_hosts = max_hosts
        self._max_networks = max_networks
        self._row = row

    def __len__(self) -> int:
        """Hosts, of all local networks."""
        return len(self._hosts)

    @property
    def networks(self) -> int:
        """Local networks from which nothing is offered to any host."""
        return sum(network.wait > 0 for network in self._networks.values())

    def withheld(self, local: bytes, remote: bytes, now: float, *, trusted: bool) -> str | None:
        """Why a SYN from `local` to `remote` gets no offer; None: it gets one.

        Addresses of 4 or 16 bytes. `trusted`: a connection with the host was encrypted lately.
        """
        if not self._hosts and not self._networks:
            return None
        network = _network(local)
        host, whole = self._hosts.get(network + remote), self._networks.get(network)
        if host is not None and now < host.until:
            return "SYNs with the option get no answer from this host"
        if whole is not None and now < whole.until and not trusted:
            return "SYNs with the option get no answer from several hosts in a row"
        for each in (host, whole):
            if each is not None and each.wait and now >= each.until:
                # This connection tries again, and others wait for what comes of it.
                each.until = now + self._times.trial
        return None

    def swallowed(self, local: bytes, remote: bytes, started: float, now: float, *, trusted: bool) -> None:
        """A connection begun at `started` has had no answer to its offers, and one to a SYN without.

        `trusted`: a connection with the host was encrypted lately.
        """
        name, times = _network(local), self._times
        host = self._hosts.setdefault(name + remote, _BlackHole())
        self._hosts.move_to_end(name + remote)
        if len(self._hosts) > self._max_hosts:
            self._hosts.popitem(last=False)
        if not host.wait or started >= host.struck:
            host.strike(now, times.trusted if trusted else times.first, times.first, times.longest)
        whole = self._networks.setdefault(name, _Network())
        self._networks.move_to_end(name)
        if len(self._networks) > self._max_networks:
            self._networks.popitem(last=False)
        if (whole.row or whole.wait) and started < whole.struck:
            return
        whole.struck = now
        whole.row.add(remote)
        if whole.wait or len(whole.row) >= self._row:
            whole.row.clear()
            whole.strike(now, times.first, times.first, times.network)

    def answered(self, local: bytes, remote: bytes) -> None:
        """The host has answered a SYN with an offer, whatever it said."""
        if self._hosts or self._networks:
            network = _network(local)
            self._hosts.pop(network + remote, None)
            self._networks.pop(network, None)


def _network(address: bytes) -> bytes:
    return address[: _IPV4_NETWORK if len(address) == _IPV4 else _IPV6_NETWORK]
