"""tcnetstat: shows the encrypted connections of this host."""

import argparse
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tcpcryptd import __version__
from tcpcryptd.cli.host_table import HOST_COLUMNS, LONG_HOST_COLUMNS
from tcpcryptd.cli.metrics import as_prometheus
from tcpcryptd.cli.screen import Screen
from tcpcryptd.cli.session_table import LONG_COLUMNS, SESSION_COLUMNS, STATE_COLUMNS
from tcpcryptd.cli.table import as_json, as_table
from tcpcryptd.control.client import DEFAULT_SOCKET, SOCKET_VARIABLE, ControlClient
from tcpcryptd.control.errors import ControlError, DaemonNotRunning
from tcpcryptd.output import Parser, show, showing
from tcpcryptd.records.address import Address

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_NOT_RUNNING = 3

_DEFAULT_INTERVAL = 2.0
_LONGEST_INTERVAL = 86_400.0
_CLEAR_SCREEN = "\x1b[H\x1b[2J"

Render = Callable[[Screen | None], str]
"""Makes the text for a terminal, or for what is none."""

_EPILOG = f"""\
A user sees the connections of their own sockets, root sees all. --long adds: the suite; the role in the key exchange;
whether the session was resumed; whether the peer's application knows of tcpcrypt; the age; the payload bytes in
either direction; the owner of the socket; and, if identities are in use, the other host's name in the list of peers,
or in parentheses why it has none, and its key.

States with --all: handshake (this host does not know yet whether the other one has the keys), encrypted, closed (by
both ends, or reset, in the last minutes; or refused) and plain.

--peers shows the hosts that had to prove who they are. Root sees the last 4,096 of them, also without a connection
now, others those of their own connections. Last seen: how long ago the last connection began or was refused, or the
last packet came. --long adds why a host is not authenticated.

On a terminal, columns that do not fit its width go to further, indented lines. States have colours unless NO_COLOR is
set.

Exit codes:
  {EXIT_OK}  done
  {EXIT_FAILURE}  the daemon cannot be asked, or refuses
  2  wrong option
  {EXIT_NOT_RUNNING}  tcpcryptd is not running
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return showing("tcnetstat", lambda: _run(arguments), failure=EXIT_FAILURE, reader_left=EXIT_OK)


def _run(arguments: Sequence[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        if options.rekey is not None:
            with ControlClient(options.socket) as client:
                client.rekey(*options.rekey)
        elif options.metrics:
            with ControlClient(options.socket) as client:
                show(as_prometheus(client.counters()), end="")
        else:
            _show(options)
    except DaemonNotRunning as error:
        print(f"tcnetstat: {error}", file=sys.stderr)
        return EXIT_NOT_RUNNING
    except ControlError as error:
        print(f"tcnetstat: {error}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        # How --watch ends.
        pass
    return EXIT_OK


def _show(options: argparse.Namespace) -> None:
    pause = threading.Event()
    while True:
        # A connection of its own each time: the daemon may have been started anew.
        with ControlClient(options.socket) as client:
            render = _peers(client, options) if options.peers else _sessions(client, options)
            key_log_is_on = bool(client.counters().get("keylog_on"))
        if key_log_is_on:
            print("tcnetstat: warning: tcpcryptd writes the keys of all connections to a file", file=sys.stderr)
        screen = Screen.of(sys.stdout)
        if options.watch is not None and not options.json and screen is not None:
            show(_CLEAR_SCREEN, end="")
        show(render(screen))
        if options.watch is None:
            return
        pause.wait(options.watch)


def _sessions(client: ControlClient, options: argparse.Namespace) -> Render:
    records = client.sessions(include_plain=options.all)
    if options.json:
        return lambda _: as_json(records, _indent(options))
    columns = [*SESSION_COLUMNS]
    if options.long:
        columns += LONG_COLUMNS
    if options.all:
        columns += STATE_COLUMNS
    return lambda screen: as_table(records, columns, screen)


def _peers(client: ControlClient, options: argparse.Namespace) -> Render:
    records = client.peers()
    if options.json:
        return lambda _: as_json(records, _indent(options))
    columns = [*HOST_COLUMNS, *(LONG_HOST_COLUMNS if options.long else ())]
    return lambda screen: as_table(records, columns, screen)


def _indent(options: argparse.Namespace) -> int | None:
    return None if options.watch is not None else 2


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _LONGEST_INTERVAL:
        raise ValueError
    return seconds


def _end(text: str) -> Address:
    address, _, port = text.rpartition(":")
    return Address.from_json({"address": address.removeprefix("[").removesuffix("]"), "port": int(port)})


# What argparse calls them when they are wrong.
_seconds.__name__ = "number of seconds"
_end.__name__ = "end (192.0.2.1:80, [2001:db8::1]:80)"


def build_parser() -> argparse.ArgumentParser:
    """The parser of its arguments."""
    parser = Parser(
        prog="tcnetstat",
        description="Shows the TCP connections of this host that tcpcryptd encrypts, with their session IDs. "
        "The other end shows the same ID for the same connection: compare them to be sure that nobody sits in between.",
        epilog=_EPILOG,
    )
    parser.add_argument("--long", action="store_true", help="more about each connection")
    parser.add_argument("--json", action="store_true", help="print everything about each connection, as JSON")
    parser.add_argument(
        "--all", action="store_true", help="also those in a handshake, just closed, or not encrypted, and why not"
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="show the other hosts and who they have proved to be, instead of connections",
    )
    parser.add_argument(
        "--watch",
        type=_seconds,
        nargs="?",
        const=_DEFAULT_INTERVAL,
        metavar="SECONDS",
        help=f"print repeatedly (every {_DEFAULT_INTERVAL:g} seconds by default), with --json one array on a line",
    )
    parser.add_argument(
        "--rekey",
        type=_end,
        nargs=2,
        metavar=("LOCAL", "FOREIGN"),
        help="replace the keys of this connection now, instead of showing any; ends are written as they are shown",
    )
    parser.add_argument(
        "--metrics",
        action="store_true",
        help="print the daemon's counters as text for Prometheus, instead of connections (docs/metrics.md)",
    )
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
