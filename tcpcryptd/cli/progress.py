"""The progress of a command with a file, on a terminal."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from tcpcryptd.cli.screen import Screen

_SECONDS = 0.2
"""Between two lines."""
_MEGABYTE = 10**6


class Progress:
    """A line on standard error that is updated as packets are read; nothing if that is not a terminal."""

    def __init__(
        self, total: int | None, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`total`: bytes of the file, None when that is not known."""
        self._stream = sys.stderr if stream is None else stream
        screen = Screen.of(self._stream)
        self._width = 0 if screen is None else screen.width - 1
        self._total = total
        self._clock = clock
        self._began = clock()
        # What takes no time needs no line.
        self._next = self._began + _SECONDS if self._width > 0 else float("inf")
        self._shown = 0

    def note(self, packets: int, position: Callable[[], int]) -> None:
        """Says how many packets were read, and bytes of the file, when it is time to."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _SECONDS
        line = self._line(packets, position(), now - self._began)[: self._width]
        self._stream.write(f"\r{line:{self._shown}}")
        self._stream.flush()
        self._shown = len(line)

    def clear(self) -> None:
        """Removes the line."""
        if self._shown:
            self._stream.write(f"\r{'':{self._shown}}\r")
            self._stream.flush()
            self._shown = 0

    def _line(self, packets: int, position: int, seconds: float) -> str:
        read = f"{packets:,} packets, {position / _MEGABYTE:,.0f}"
        if self._total is None:
            return f"{read} MB"
        left = seconds * max(self._total - position, 0) / max(position, 1)
        return f"{read} of {self._total / _MEGABYTE:,.0f} MB, {left:,.0f} s left"
