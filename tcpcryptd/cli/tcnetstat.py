"""tcnetstat: shows the encrypted connections of this host."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tcpcryptd import __version__
from tcpcryptd.control.client import DEFAULT_SOCKET, SOCKET_VARIABLE, ControlClient
from tcpcryptd.control.errors import ControlError, DaemonNotRunning
from tcpcryptd.control.session_record import SessionRecord

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_NOT_RUNNING = 3

_EPILOG = f"""\
A user sees the connections of its own sockets, root sees all.

Exit codes:
  {EXIT_OK}  done
  {EXIT_FAILURE}  the daemon cannot be asked
  2  wrong option
  {EXIT_NOT_RUNNING}  tcpcryptd is not running
"""

Column = tuple[str, Callable[[SessionRecord], str]]
"""Heading and content."""

SESSION_COLUMNS: Final[Sequence[Column]] = (
    ("Local address", lambda record: str(record.local)),
    ("Foreign address", lambda record: str(record.remote)),
    ("SessID", lambda record: record.session_id.hex() if record.session_id is not None else "-"),
)
STATE_COLUMNS: Final[Sequence[Column]] = (
    ("State", lambda record: record.state),
    ("Reason", lambda record: _printable(record.reason) if record.reason is not None else "-"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        with ControlClient(options.socket) as client:
            records = client.sessions(include_plain=options.all)
    except DaemonNotRunning as error:
        print(f"tcnetstat: {error}", file=sys.stderr)
        return EXIT_NOT_RUNNING
    except ControlError as error:
        print(f"tcnetstat: {error}", file=sys.stderr)
        return EXIT_FAILURE
    columns = (*SESSION_COLUMNS, *STATE_COLUMNS) if options.all else SESSION_COLUMNS
    try:
        print(as_json(records) if options.json else as_table(records, columns), flush=True)
    except BrokenPipeError:
        # Whoever read it, such as head, has seen enough; the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OK


def as_json(records: Sequence[SessionRecord]) -> str:
    """A JSON array with an object for each connection."""
    return json.dumps([record.to_json() for record in records], indent=2)


def as_table(records: Sequence[SessionRecord], columns: Sequence[Column]) -> str:
    """Headings and a line for each connection, in columns."""
    rows = [[heading for heading, _ in columns]]
    rows += ([content(record) for _, content in columns] for record in records)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tcnetstat",
        description="Shows the TCP connections of this host that tcpcryptd encrypts, with their session IDs. "
        "The other end shows the same ID for the same connection: compare them to be sure that nobody sits between.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print all that is known of each connection, as JSON")
    parser.add_argument("--all", action="store_true", help="also connections that are not encrypted, and why")
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help=f"the daemon's control socket (default: ${SOCKET_VARIABLE} or {DEFAULT_SOCKET})",
    )
    parser.add_argument("--version", action="version", version=f"tcnetstat {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
