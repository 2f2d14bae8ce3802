"""Keys that were believed when they were seen first, by address; they are kept in the format of known_hosts."""

from collections.abc import Callable, Iterable
from typing import Final

from tcpcryptd.identity.known_hosts import KnownHosts, Marker
from tcpcryptd.identity.public_key import key_line

MAX_LEARNED: Final = 16384
"""Addresses. Beyond it none is learned: room made for new ones could be made by whoever wants one forgotten."""

_HEADER: Final = (
    "# Keys that tcpcryptd has believed at their first use. To have it forget one, stop it and remove the line.\n"
)


class LearnedKeys:
    """The keys of one host's peers."""

    def __init__(
        self, text: bytes = b"", on_learn: Callable[[str, bytes], None] | None = None, limit: int = MAX_LEARNED
    ) -> None:
        """`text`: what `text()` gave earlier; `on_learn` gets each new address and key."""
        self._limit = limit
        self._on_learn = on_learn
        self._keys: dict[str, bytes] = {}
        known = KnownHosts(text)
        self.malformed = known.malformed
        for line in known.lines:
            if line.marker is Marker.KEY:
                for name in line.names.exact or ():
                    self.add(name, line.key)

    def __len__(self) -> int:
        return len(self._keys)

    def key_of(self, address: str) -> bytes | None:
        """The key that an address had when it was seen first; None: it has not been seen."""
        return self._keys.get(address)

    def learn(self, address: str, key: bytes) -> bool:
        """Remembers a key; False when there is no room for more."""
        if not self.add(address, key):
            return False
        if self._on_learn is not None:
            self._on_learn(address, key)
        return True

    def add(self, address: str, key: bytes) -> bool:
        """Takes over what another process has learned, unless something was known; False without room for it."""
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
