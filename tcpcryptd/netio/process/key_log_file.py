"""The file that a key log is written to (docs/keylog.md); it exists only when the administrator asks for it."""

import logging
import os
import stat
from pathlib import Path

from tcpcryptd.netio.errors import DaemonError

_MODE = 0o600

_log = logging.getLogger(__name__)


class KeyLogFile:
    """Appends lines, each with one system call, so that several daemons can share a file."""

    def __init__(self, path: Path, header: str) -> None:
        """`header`: the first line of a new file."""
        self._path = path
        self._header = header
        self._descriptor: int | None = None
        self._lines = 0
        self._failures = 0

    def open(self) -> None:
        """Creates the file for root alone, or takes one that is; to be called as root. Raises DaemonError."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags, _MODE)
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_uid != os.geteuid():
                self.close()
                raise DaemonError(f"key log {self._path}: not a regular file of root's; remove it or name another one")
            os.fchmod(self._descriptor, _MODE)
        except OSError as error:
            self.close()
            raise DaemonError(f"key log {self._path}: {error.strerror}") from error
        _log.warning(
            "--keylog: THE KEYS OF ALL ENCRYPTED CONNECTIONS ARE WRITTEN TO %s; whoever has it can read them",
            self._path,
        )
        if not status.st_size:
            self._append(self._header)

    def write(self, line: str) -> None:
        """Adds a line. What cannot be written is counted, and reported once: connections do not depend on it."""
        if self._append(line):
            self._lines += 1

    def _append(self, line: str) -> bool:
        data = f"{line}\n".encode()
        try:
            if self._descriptor is not None and os.write(self._descriptor, data) == len(data):
                return True
            reason = "no space"
        except OSError as error:
            reason = error.strerror or "error"
        self._failures += 1
        if self._failures == 1:
            _log.warning("key log %s is incomplete: %s", self._path, reason)
        return False

    def close(self) -> None:
        """Writes nothing more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def counters(self) -> dict[str, int]:
        """Being on, and what has become of the lines."""
        return {"keylog_on": 1, "keylog_lines": self._lines, "keylog_failures": self._failures}
