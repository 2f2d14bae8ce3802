"""Key pairs of MLKEM768-X25519 made ahead of need, one for each connection."""

from collections import deque
from collections.abc import Callable
from typing import Final

from tcpcryptd.crypto.mlkem768_x25519 import KemKey, generate, is_available

CAPACITY: Final = 64
"""Key pairs, 8 KiB of memory each: a burst of connections."""


class KeyPool:
    """Hands out each key pair once.

    `refill` makes one at a time and is for moments when no packet waits. A thread would not help: OpenSSL is called
    with Python's lock held, so it would delay the packets, too.
    """

    __slots__ = ("_generate", "_keys", "capacity", "made_on_demand")

    def __init__(self, capacity: int = CAPACITY, make: Callable[[], KemKey] = generate) -> None:
        """Start empty. With a capacity of 0, as without ML-KEM, each key pair is made when it is needed."""
        self.capacity = capacity if is_available() else 0
        """Can be changed; key pairs that are too many go as they are used."""
        self.made_on_demand = 0
        """The number of objects that were not ready when they were needed."""
        self._generate = make
        self._keys: deque[KemKey] = deque()

    def __len__(self) -> int:
        """How many are ready."""
        return len(self._keys)

    def take(self) -> KemKey:
        """A key pair that nobody else gets; made now when none is ready."""
        if self._keys:
            return self._keys.popleft()
        self.made_on_demand += 1
        return self._generate()

    def is_short(self) -> bool:
        """Whether there are fewer than the capacity."""
        return len(self._keys) < self.capacity

    def refill(self) -> None:
        """Make one key pair, unless there are enough."""
        if self.is_short():
            self._keys.append(self._generate())
