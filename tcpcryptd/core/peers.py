"""Which protocols the peers were found to speak, so that the next connection offers what will be answered."""

from collections import OrderedDict
from collections.abc import Sequence


class PeerMemory:
    """Remembers for a while what hosts did not answer; bounded."""

    def __init__(self, limit: int, lifetime: float) -> None:
        """`limit`: hosts; `lifetime`: seconds."""
        self._limit = limit
        self._lifetime = lifetime
        self._declined: OrderedDict[bytes, tuple[float, frozenset[str]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._declined)

    def choose(self, address: bytes, offers: Sequence[str], now: float) -> str | None:
        """The first protocol of `offers` that the host has not declined lately; None: it has declined all of them."""
        declined = self._current(address, now)
        return next((name for name in offers if name not in declined), None)

    def declined(self, address: bytes, name: str, now: float) -> None:
        """The host has answered an offer of the protocol as one that does not speak it."""
        known = self._current(address, now)
        self._declined[address] = now, known | {name}
        self._declined.move_to_end(address)
        if len(self._declined) > self._limit:
            self._declined.popitem(last=False)

    def speaks(self, address: bytes, name: str) -> None:
        """The host has shown that it speaks the protocol."""
        if address in self._declined:
            since, names = self._declined[address]
            self._declined[address] = since, names - {name}

    def _current(self, address: bytes, now: float) -> frozenset[str]:
        since, names = self._declined.get(address, (now, frozenset[str]()))
        if now - since < self._lifetime:
            return names
        del self._declined[address]
        return frozenset()
