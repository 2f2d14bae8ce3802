"""Secrets of earlier key exchanges, which new connections resume. In memory only, bounded, each used once."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

MAX_PER_KEY: Final = 16
"""Sessions kept for one peer: connections that are open at once leave one each."""


class SessionStore(Protocol):
    """Sessions under a key that the protocol chooses; only the protocol knows the meaning of their bytes."""

    def __len__(self) -> int:
        """How many sessions are kept."""

    def put(self, key: bytes, session: bytes, now: float) -> int | None:
        """Keeps a session; the oldest make room. Its number for `discard`; None: it is not kept."""

    def take(self, key: bytes, now: float, accept: Callable[[bytes], bool]) -> bytes | None:
        """Takes out the newest session under a key that is accepted; None when there is none."""

    def discard(self, key: bytes, number: int) -> None:
        """Forgets one session, if it is still there."""

    def flush(self) -> int:
        """Forgets all sessions; returns their number."""


class SessionCache:
    """The SessionStore of a single engine."""

    def __init__(self, limit: int, lifetime: float) -> None:
        """`limit`: sessions in all; `lifetime`: seconds."""
        self._limit = limit
        self._lifetime = lifetime
        self._entries: OrderedDict[tuple[bytes, int], tuple[float, bytes]] = OrderedDict()
        self._slots: dict[bytes, list[int]] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: bytes, session: bytes, now: float) -> int | None:
        """Keeps a session; the oldest make room. Its number for `discard`; None: with a limit of 0 none is kept."""
        if self._limit == 0:
            return None
        self._expire(now)
        slots = self._slots.setdefault(key, [])
        if len(slots) >= MAX_PER_KEY:
            self._drop(key, slots[0])
        elif len(self._entries) >= self._limit:
            self._drop(*next(iter(self._entries)))
        self._serial += 1
        self._slots.setdefault(key, []).append(self._serial)
        self._entries[key, self._serial] = now, session
        return self._serial

    def take(self, key: bytes, now: float, accept: Callable[[bytes], bool]) -> bytes | None:
        """Takes out the newest session under a key that is accepted; None when there is none."""
        self._expire(now)
        for serial in reversed(self._slots.get(key, ())):
            if accept(self._entries[key, serial][1]):
                return self._drop(key, serial)
        return None

    def discard(self, key: bytes, number: int) -> None:
        """Forgets one session, if it is still there."""
        if (key, number) in self._entries:
            self._drop(key, number)

    def flush(self) -> int:
        """Forgets all sessions; returns their number."""
        count = len(self._entries)
        self._entries.clear()
        self._slots.clear()
        return count

    def _expire(self, now: float) -> None:
        while self._entries:
            oldest = next(iter(self._entries))
            if now - self._entries[oldest][0] < self._lifetime:
                break
            self._drop(*oldest)

    def _drop(self, key: bytes, serial: int) -> bytes:
        slots = self._slots[key]
        slots.remove(serial)
        if not slots:
            del self._slots[key]
        return self._entries.pop((key, serial))[1]
