"""Standard output that is closed or full, or whose reader has left."""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from typing import Any


class OutputError(Exception):
    """Standard output takes no more; the cause is the OSError."""


class Parser(argparse.ArgumentParser):
    """One that keeps the lines of its texts, and raises OutputError when its help cannot be printed."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **arguments)

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            show(message, end="")
        else:
            super()._print_message(message, file)


def show(text: str, end: str = "\n") -> None:
    """Prints at once; raises OutputError."""
    try:
        if sys.stdout is None:
            # What Python makes of a descriptor that is closed: print would say nothing.
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        print(text, end=end, flush=True)
    except OSError as error:
        raise OutputError from error


def showing(program: str, run: Callable[[], int], *, failure: int, reader_left: int) -> int:
    """What `run` returns. When standard output takes no more: `failure`, and it is said why.

    `reader_left`, and nothing is said, when its reader is gone, such as head.
    """
    try:
        return run()
    except OutputError as error:
        if sys.stdout is not None:
            # The interpreter flushes once more when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error.__cause__, BrokenPipeError):
            return reader_left
        print(f"{program}: standard output: {getattr(error.__cause__, 'strerror', None)}", file=sys.stderr)
        return failure
