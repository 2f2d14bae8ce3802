"""Makes keys in a thread of its own, ahead of need, and replaces them in time."""

import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger(__name__)

KEY_LIFETIME = 3600.0
"""Seconds after which a key is replaced."""
_RETRY = 60.0


@dataclass(frozen=True)
class KeyJob:
    """A kind of key: `make` runs in the thread, `install` then in the event loop's."""

    name: str
    make: Callable[[], Any]
    install: Callable[[Any], None]
    interval: float = KEY_LIFETIME
    """Seconds from one key to the next; the first is made after one interval."""


class KeyGenerator:
    """The thread, and the event source through which its keys arrive. Start it after privileges were given up."""

    def __init__(self, jobs: Sequence[KeyJob]) -> None:
        self.failures = 0
        self._made: queue.SimpleQueue[tuple[KeyJob, Any]] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = [threading.Event() for _ in jobs]
        self._threads = [
            threading.Thread(target=self._run, args=(job, stopping), name=f"keys-{job.name}", daemon=True)
            for job, stopping in zip(jobs, self._stopping, strict=True)
        ]

    def start(self) -> None:
        """Starts one thread for each job."""
        for thread in self._threads:
            thread.start()

    def fileno(self) -> int:
        """An eventfd."""
        return self._wake

    def handle_ready(self) -> None:
        """Installs the keys that were made."""
        os.eventfd_read(self._wake)
        while not self._made.empty():
            job, key = self._made.get()
            job.install(key)

    def close(self) -> None:
        """Stops the threads; a key that is being made is waited for."""
        for stopping in self._stopping:
            stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        os.close(self._wake)

    def _run(self, job: KeyJob, stopping: threading.Event) -> None:
        pause = job.interval
        while not stopping.wait(pause):
            try:
                key = job.make()
            except Exception as error:
                self.failures += 1
                # The message may quote the key.
                _log.warning(
                    "no new %s key could be made (%s); the old one stays in use", job.name, type(error).__name__
                )
                pause = min(job.interval, _RETRY)
                continue
            pause = job.interval
            self._made.put((job, key))
            os.eventfd_write(self._wake, 1)
