"""The protocols that peers speak, so that the next connection offers one that they answer.

An answer without a protocol can be forged by whoever sees the SYN. That makes one connection plain, but it must not
make those plain that come when the forger has gone: a host that has answered to a protocol lately is offered it
whatever it seems to say now, and where there is nothing else to offer, the only protocol is offered to everybody.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Peer:
    """By protocol, when the host has last declined it and last answered to it; seconds."""

    declined: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)


class PeerMemory:
    """Remembers for a while what hosts answered; bounded."""

    def __init__(self, limit: int, lifetime: float, trust: float) -> None:
        """`limit`: hosts; `lifetime`, `trust`: seconds for which it counts that one declined, and that it did not."""
        self._limit = limit
        self._lifetime = lifetime
        self._trust = trust
        self._peers: OrderedDict[bytes, _Peer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._peers)

    def choose(self, address: bytes, offers: Sequence[str], now: float) -> str | None:
        """The first protocol of `offers` that the host has not declined lately; None: it has declined all of them."""
        if len(offers) == 1:
            return offers[0]
        peer = self._peers.get(address)
        return next((name for name in offers if peer is None or not self._declines(peer, name, now)), None)

    def declined(self, address: bytes, name: str, now: float) -> None:
        """Notes that the host, or an attacker in its place, answered an offer as if it did not speak the protocol."""
        self._recent(address).declined[name] = now

    def answered(self, address: bytes, name: str, now: float) -> None:
        """An offer of the protocol has led to encryption."""
        peer = self._recent(address)
        peer.answered[name] = now
        peer.declined.pop(name, None)

    def trusts(self, address: bytes, now: float) -> bool:
        """Whether a connection that this host opened to it was encrypted lately."""
        peer = self._peers.get(address)
        return peer is not None and any(now - answered < self._trust for answered in peer.answered.values())

    def offered(self, address: bytes, name: str) -> None:
        """The host has opened an encrypted connection. It takes no entry: anybody can do that from many addresses."""
        peer = self._peers.get(address)
        if peer is not None:
            peer.declined.pop(name, None)

    def _declines(self, peer: _Peer, name: str, now: float) -> bool:
        answered = peer.answered.get(name)
        if answered is not None and now - answered < self._trust:
            return False
        declined = peer.declined.get(name)
        return declined is not None and now - declined < self._lifetime

    def _recent(self, address: bytes) -> _Peer:
        """The host's entry, the last to be dropped now."""
        peer = self._peers.setdefault(address, _Peer())
        self._peers.move_to_end(address)
        if len(self._peers) > self._limit:
            self._peers.popitem(last=False)
        return peer
