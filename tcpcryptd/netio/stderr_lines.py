"""Lines of a log on stderr, without ever waiting: a reader that hangs must not hold up packets."""

import contextlib
import logging
import os
import socket
import stat
import time
from functools import lru_cache

_STDERR = 2


class StderrLines(logging.Handler):
    """A handler for the package's log."""

    def __init__(self) -> None:
        super().__init__()
        self.timed = False
        """Whether lines begin with the date and the time of day."""
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
            self.write_line(self.format(record))
        except MemoryError:
            self._lost += 1

    def write_line(self, text: str) -> None:
        """Writes a line, and before it how many were lost."""
        try:
            line = f"{_date_and_time(int(time.time()))} {text}\n" if self.timed else f"{text}\n"
            if self._lost:
                line = f"{self._lost} lines of the log were lost: they could not be written\n{line}"
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


@lru_cache(maxsize=1)
def _date_and_time(second: int) -> str:
    """Local, in the form with which all lines of one second begin."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
