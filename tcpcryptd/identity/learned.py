"""Keys that were trusted at first sight, by address; kept in the format of known_hosts."""

from collections.abc import Iterable
from typing import Final

from tcpcryptd.identity.known_hosts import KnownHosts, Marker
from tcpcryptd.identity.public_key import key_line

MAX_LEARNED: Final = 16384
"""Addresses. Beyond it none is learned: room made for new ones could be made by whoever wants one forgotten."""

_HEADER: Final = "# Keys that tcpcryptd trusted at their first use. It forgets a key whose line is removed.\n"


class LearnedKeys:
    """The keys of one host's peers."""

    def __init__(self, text: bytes = b"", limit: int = MAX_LEARNED) -> None:
        """`text`: what `text()` gave earlier."""
        self._limit = limit
        self._keys: dict[str, bytes] = {}
        known = KnownHosts(text)
        self.malformed = known.malformed
        for line in known.lines:
            if line.marker is Marker.KEY:
                for name in line.names.exact or ():
                    self.learn(name, line.key)

    def __len__(self) -> int:
        return len(self._keys)

    def key_of(self, address: str) -> bytes | None:
        """The first key that was seen at an address; None: it has not been seen."""
        return self._keys.get(address)

    def learn(self, address: str, key: bytes) -> bool:
        """Remembers a key, unless one was known; False when there is no room for more."""
        if address not in self._keys and len(self._keys) >= self._limit:
            return False
        self._keys.setdefault(address, key)
        return True

    def items(self) -> Iterable[tuple[str, bytes]]:
        """Addresses and keys, the oldest first."""
        return self._keys.items()

    def text(self) -> bytes:
        """As it is kept."""
        return (_HEADER + "".join(f"{address} {key_line(key)}\n" for address, key in self._keys.items())).encode()
