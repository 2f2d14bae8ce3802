"""Keys that are trusted at first sight (`--first-use`), kept for the next run and for other workers."""

import logging
import queue
import threading
from collections.abc import Sequence
from typing import Final

from tcpcryptd.identity.learned import LearnedKeys
from tcpcryptd.netio.process.state_file import StateFile

FILE_NAME: Final = "known_hosts"
MAX_BYTES: Final = 4 * 1024 * 1024
SPACING: Final = 1.0
"""Seconds between two changes of the file; one change writes everything learned meanwhile."""

_log = logging.getLogger(__name__)


class FirstUse:
    """Looks at the file with each question, so that what other processes learn and people remove counts at once.

    What is learned counts in this process from then on; a thread writes it down.
    """

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._keys = LearnedKeys()
        self._version = (0, 0, 0)
        self._pending: dict[str, bytes] = {}
        """Learned here, and not in the file yet. The thread takes out what is."""
        self._queue: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._has_failed = False

    def key_of(self, address: str) -> bytes | None:
        """The first key that was seen at an address; None: it has not been seen."""
        # In this order: the thread takes it out only when it is in the file.
        pending = self._pending.get(address)
        self._refresh()
        return self._keys.key_of(address) or pending

    def learn(self, address: str, key: bytes) -> bool:
        """Remembers a key; False when there is no room for more."""
        if not self._keys.learn(address, key):
            return False
        self._pending[address] = key
        self._queue.put((address, key))
        if self._thread is None:
            # Not before: workers are forked, and threads are not.
            self._thread = threading.Thread(target=self._write_all, name="first-use", daemon=True)
            self._thread.start()
        return True

    def _refresh(self) -> None:
        try:
            version = self._file.version()
            if version != self._version:
                self._keys = LearnedKeys(self._file.read())
                self._version = version
        except OSError as error:
            self._fail(error)

    def _write_all(self) -> None:
        while True:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            self._write(waiting)
            # Each change is read by the other workers, while their packets wait.
            threading.Event().wait(SPACING)

    def _write(self, waiting: Sequence[tuple[str, bytes]]) -> None:
        keys = LearnedKeys()

        def add(text: bytes) -> bytes:
            nonlocal keys
            keys = LearnedKeys(text)
            for address, key in waiting:
                keys.learn(address, key)
                if keys.key_of(address) not in (key, None):
                    _log.error("%s was first seen with two keys at once: one of them is not its own", address)
            return keys.text()

        try:
            version = self._file.change(add)
        except OSError as error:
            self._fail(error)
            return
        self._has_failed = False
        # What the packets' thread learns meanwhile is pending.
        self._keys, self._version = keys, version
        for address, _ in waiting:
            self._pending.pop(address, None)

    def _fail(self, error: OSError) -> None:
        if not self._has_failed:
            self._has_failed = True
            _log.error("%s: %s; first-seen keys are not kept", self._file.path, error.strerror)
