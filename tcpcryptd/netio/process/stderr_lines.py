"""Lines of a log on stderr, without ever waiting: a reader that hangs must not hold up packets."""

import contextlib
import logging
import os
import socket
import stat
import time
from functools import lru_cache

_STDERR = 2
_ERROR, _WARNING, _INFORMATION, _DEBUG = 3, 4, 6, 7
"""Priorities (sd-daemon(3), syslog(3))."""


class StderrLines(logging.Handler):
    """A handler for the package's log."""

    def __init__(self) -> None:
        super().__init__()
        self.to_journal = False
        """Whether the journal reads the lines, which wants a priority before each and adds the time itself."""
        self._lost = 0
        self._descriptor = _STDERR
        self._socket: socket.socket | None = None
        kind = os.fstat(_STDERR).st_mode
        if stat.S_ISSOCK(kind):
            self._socket = socket.socket(fileno=os.dup(_STDERR))
        elif stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            # Opened anew, since O_NONBLOCK would hold for all who have the same open file.
            with contextlib.suppress(OSError):
                self._descriptor = os.open(f"/proc/self/fd/{_STDERR}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record's line."""
        try:
            self.write_line(self.format(record), _priority(record.levelno))
        except MemoryError:
            self._lost += 1

    def write_line(self, text: str, priority: int = _INFORMATION) -> None:
        """Writes a line, and before it how many were lost."""
        try:
            start = f"<{priority}>" if self.to_journal else f"{_date_and_time(int(time.time()))} "
            line = f"{start}{text}\n"
            if self._lost:
                start = f"<{_WARNING}>" if self.to_journal else ""
                line = f"{start}{self._lost} lines of the log were lost: they could not be written\n{line}"
            self._write(line.encode(errors="backslashreplace"))
            self._lost = 0
        except (OSError, MemoryError):
            self._lost += 1

    def _write(self, line: bytes) -> None:
        if self._socket is not None:
            self._socket.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        else:
            os.write(self._descriptor, line)

    def close(self) -> None:
        """Closes what was opened, as far as that was necessary."""
        if self._socket is not None:
            self._socket.close()
        if self._descriptor != _STDERR:
            os.close(self._descriptor)
        super().close()


def is_the_journal() -> bool:
    """Whether stderr is what the service manager has connected with the journal (systemd.exec(5), JOURNAL_STREAM)."""
    about = os.fstat(_STDERR)
    return os.environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"


def _priority(level: int) -> int:
    if level >= logging.ERROR:
        return _ERROR
    if level >= logging.WARNING:
        return _WARNING
    return _INFORMATION if level >= logging.INFO else _DEBUG


@lru_cache(maxsize=1)
def _date_and_time(second: int) -> str:
    """Local, in the form with which all lines of one second begin."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
