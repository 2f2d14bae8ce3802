"""The session cache of all workers: a table in memory that they share, from which each session is taken once.

A peer that has got another address can come to another worker, at either end. The table is there before the workers are
forked, and goes with the last of them; the daemon's own process gives it up. Nothing of it is in a file: a memfd has no
name, and is memory like any other, not dumped, and locked where memory may be locked.

A session's key alone decides on its bucket of slots. A lock of the kernel's guards each bucket (fcntl(2)); it goes with
the process that holds it, and what that process had not finished was not to be seen yet.
"""

import fcntl
import mmap
import os
from collections.abc import Callable
from itertools import count
from struct import Struct
from typing import Final, NamedTuple

SLOTS: Final = 16
"""Of a bucket: sessions that one peer may have waiting, if no other key leads to the same bucket."""
_HEAD: Final = Struct("=BBBxIQd")
"""Owner (0: empty), bytes of key, bytes of session, reserved, number, time of arrival."""
_MAX_KEY: Final = 40
_MAX_SESSION: Final = 96
_SLOT: Final = _HEAD.size + _MAX_KEY + _MAX_SESSION
_BUCKET: Final = SLOTS * _SLOT
_FREE: Final = bytes(SLOTS)
_ERASED: Final = bytes(_SLOT)
_TRIES: Final = 100
"""A lock is held for microseconds, for longer only when its holder has lost the processor."""


class _Entry(NamedTuple):
    arrived: float
    number: int
    at: int
    """Where in the table."""
    key: bytes
    session: bytes


class SharedSessions:
    """A SessionStore. To be made before the workers; `owner` is to be set in each."""

    def __init__(self, limit: int, lifetime: float) -> None:
        """`limit`: sessions in all; `lifetime`: seconds, on the clock that all processes share (CLOCK_MONOTONIC)."""
        self.owner = 1
        """Of what this process puts in, 1 to 255: each worker counts its own."""
        self._lifetime = lifetime
        self._buckets = -(-limit // SLOTS)
        self._descriptor = os.memfd_create("tcpcryptd-sessions")
        os.ftruncate(self._descriptor, self._buckets * _BUCKET)
        self._memory = mmap.mmap(self._descriptor, self._buckets * _BUCKET)
        self._memory.madvise(mmap.MADV_DONTDUMP)
        self._serial = count(1)
        self._swept = 0

    def close(self) -> None:
        """This process has no use for it."""
        self._memory.close()
        os.close(self._descriptor)

    def __len__(self) -> int:
        """How many of what this process has put in is there, what is too old included."""
        return self._memory[0::_SLOT].count(self.owner)

    def put(self, key: bytes, session: bytes, now: float) -> int | None:
        """Keeps a session; the oldest in its bucket makes room. Its number for `discard`; None: it is not kept."""
        self._sweep(now)
        bucket = self._bucket(key)
        if len(key) > _MAX_KEY or len(session) > _MAX_SESSION or not self._lock(bucket):
            return None
        try:
            slot = self._owners(bucket).find(0)
            at = bucket * _BUCKET + slot * _SLOT if slot >= 0 else min(self._entries(bucket)).at
            self._erase(at)
            number = os.getpid() << 32 | next(self._serial)
            head = _HEAD.pack(0, len(key), len(session), 0, number, now)
            self._memory[at : at + _SLOT] = head + key.ljust(_MAX_KEY, b"\0") + session.ljust(_MAX_SESSION, b"\0")
            self._memory[at] = self.owner
            return number
        finally:
            self._unlock(bucket)

    def take(self, key: bytes, now: float, accept: Callable[[bytes], bool]) -> bytes | None:
        """The newest session under a key that is accepted, and not in the table any more; None when there is none."""
        self._sweep(now)
        bucket = self._bucket(key)
        if self._owners(bucket) == _FREE or not self._lock(bucket):
            return None
        try:
            self._erase_old(bucket, now)
            for entry in sorted(self._entries(bucket), reverse=True):
                if entry.key == key and accept(entry.session):
                    self._erase(entry.at)
                    return entry.session
            return None
        finally:
            self._unlock(bucket)

    def discard(self, key: bytes, number: int) -> None:
        """Forgets one session, if it is still there."""
        bucket = self._bucket(key)
        if self._lock(bucket):
            try:
                for entry in self._entries(bucket):
                    if entry.number == number:
                        self._erase(entry.at)
            finally:
                self._unlock(bucket)

    def flush(self) -> int:
        """Forgets all sessions, also of other workers; how many there were."""
        found = 0
        for bucket in range(self._buckets):
            if self._owners(bucket) != _FREE and self._lock(bucket):
                try:
                    entries = self._entries(bucket)
                    for entry in entries:
                        self._erase(entry.at)
                    found += len(entries)
                finally:
                    self._unlock(bucket)
        return found

    def _bucket(self, key: bytes) -> int:
        # The hash has the same seed in all workers, since they are forks of one process; peers don't know it.
        return hash(key) % self._buckets

    def _owners(self, bucket: int) -> bytes:
        """One byte of each slot, 0 where it is empty; without the lock it can be about to change."""
        return self._memory[bucket * _BUCKET : (bucket + 1) * _BUCKET : _SLOT]

    def _lock(self, bucket: int) -> bool:
        """Whether the bucket is this process's for now. No packet waits long for one that holds it and hangs."""
        for _ in range(_TRIES):
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, bucket)
            except (BlockingIOError, PermissionError):
                os.sched_yield()
            else:
                return True
        return False

    def _unlock(self, bucket: int) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, bucket)

    def _taken(self, bucket: int) -> list[int]:
        """Where the slots are that are not empty."""
        first = bucket * _BUCKET
        return [first + slot * _SLOT for slot, owner in enumerate(self._owners(bucket)) if owner]

    def _entries(self, bucket: int) -> list[_Entry]:
        """What is in a bucket, which is locked."""
        found = []
        for at in self._taken(bucket):
            _, key_length, length, _, number, arrived = _HEAD.unpack_from(self._memory, at)
            key, session = at + _HEAD.size, at + _HEAD.size + _MAX_KEY
            taken = self._memory[key : key + key_length], self._memory[session : session + length]
            found.append(_Entry(arrived, number, at, *taken))
        return found

    def _old(self, bucket: int, now: float) -> list[int]:
        """Where the slots are whose sessions are too old."""
        arrivals = [(at, _HEAD.unpack_from(self._memory, at)[5]) for at in self._taken(bucket)]
        return [at for at, arrived in arrivals if now - arrived >= self._lifetime]

    def _erase_old(self, bucket: int, now: float) -> None:
        """The bucket is locked."""
        for at in self._old(bucket, now):
            self._erase(at)

    def _erase(self, at: int) -> None:
        self._memory[at] = 0
        self._memory[at : at + _SLOT] = _ERASED

    def _sweep(self, now: float) -> None:
        """Erases what is too old in one more bucket, since nobody may ask for it again."""
        bucket = self._swept = (self._swept + 1) % self._buckets
        if self._owners(bucket) != _FREE and self._old(bucket, now) and self._lock(bucket):
            try:
                self._erase_old(bucket, now)
            finally:
                self._unlock(bucket)
