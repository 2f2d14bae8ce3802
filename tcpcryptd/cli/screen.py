"""The terminal that a command prints to."""

import os
import shutil
from dataclasses import dataclass
from typing import TextIO

_PLAIN = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Screen:
    """Its width in columns, and whether it shows colours."""

    width: int
    colours: bool

    @classmethod
    def of(cls, stream: TextIO | None) -> "Screen | None":
        """None: the stream is no terminal. With NO_COLOR (no-color.org), or TERM=dumb, there are no colours."""
        if stream is None or not stream.isatty():
            return None
        colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
        return cls(shutil.get_terminal_size().columns, colours)

    def paint(self, text: str, style: str) -> str:
        """The text in a style, a number of SGR; as it is where there are no colours."""
        return f"\x1b[{style}m{text}{_PLAIN}" if self.colours and style else text
