"""Peers to which this host's firewall or routes let the daemon send nothing.

No handshake can end well with them, so the next connections are plain from their first segment, or fail with --require.
"""


class Unreachable:
    """Addresses, each for a while; the oldest makes room at the bound."""

    def __init__(self, limit: int, lifetime: float) -> None:
        """`lifetime`: seconds."""
        self._limit = limit
        self._lifetime = lifetime
        self._until: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def add(self, address: bytes, now: float) -> None:
        """Notes that a packet to that host was refused."""
        self._until.pop(address, None)
        if len(self._until) >= self._limit:
            del self._until[next(iter(self._until))]
        self._until[address] = now + self._lifetime

    def has(self, address: bytes, now: float) -> bool:
        """Whether that happened lately."""
        if not self._until:
            return False
        until = self._until.get(address)
        if until is not None and until <= now:
            del self._until[address]
        return until is not None and now < until
