"""Connections that were reset here and must not go on in clear.

A reset can miss the local kernel: an attacker on the path sends a byte before it, and its number is not exact any more.
With a forged RST and SYN the connection tracker forgets the mark, too. So every segment of such a connection is treated
like one that an earlier daemon encrypted (`orphan.py`), until the local kernel opens or accepts a new connection. A SYN
of the old connection that waits in a queue does not count as a new one.
"""

from tcpcryptd.core.protocol import Origin


class Tombstones:
    """Flow keys; at the bound the oldest makes room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys: dict[bytes, Origin] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def opened_by(self, key: bytes, isn: int) -> bool:
        """Whether such a SYN of the local kernel opened the connection."""
        origin = self._keys.get(key)
        return origin is not None and origin.active and origin.isn == isn

    def add(self, key: bytes, origin: Origin) -> None:
        """The connection was reset."""
        self._keys.pop(key, None)
        if len(self._keys) >= self._limit:
            del self._keys[next(iter(self._keys))]
        self._keys[key] = origin

    def discard(self, key: bytes) -> None:
        """The local kernel has a new connection with these addresses and ports."""
        self._keys.pop(key, None)
