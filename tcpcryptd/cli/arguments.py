"""The command line of tcpcryptd."""

import argparse
from collections.abc import Callable

from tcpcryptd import __version__
from tcpcryptd.cli import post_quantum
from tcpcryptd.cli.options import GROUPS, OPTIONS, RUNNING, Kind, Option
from tcpcryptd.netio.errors import ExitCode
from tcpcryptd.output import Parser
from tcpcryptd.wire.build import description

_DESCRIPTION = """\
Encrypts the TCP connections of this host with every peer that runs tcpcryptd as well, without changes to applications.
Connections with other peers are plain TCP, as before. Start it as root: it gives up the privileges that it does not
need. It runs in the foreground until it gets SIGINT (Ctrl-C) or SIGTERM, and then resets its encrypted connections.
`tcnetstat` lists them with their session IDs.

`tcpcryptd doctor` checks what the daemon needs on this host, and says how to get what is missing. `tcpcryptd keygen`
makes a key with which this host can prove who it is.
"""
_EPILOG = f"""\
All options except --config, --cleanup, --flush-cache, --help and --version can stand in the configuration file, in
TOML, under the same names: port = [80, 25], or all-ports = true. The command line replaces what the file says.

Exit codes:
  {ExitCode.OK:d}  orderly stop
  {ExitCode.FAILURE:d}  failure
  {ExitCode.USAGE:d}  wrong option or configuration
  {ExitCode.PERMISSION:d}  not root, or privileges missing
  {ExitCode.UNSUPPORTED:d}  the kernel, nft or iptables lacks something
  {ExitCode.BUSY:d}  already running, or a queue is taken by another program

Encryption without authentication stops a passive eavesdropper, but not a man in the middle. Against the latter, require
identities, or compare the session IDs of both ends.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser; its result has only the options that were given."""
    parser = Parser(
        prog="tcpcryptd",
        usage="%(prog)s [options]\n       %(prog)s doctor [options]\n       %(prog)s keygen [FILE]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    groups = {name: parser.add_argument_group(name, text) for name, text in GROUPS.items()}
    for option in OPTIONS:
        add_option(groups[option.group], option)
    running = groups[RUNNING]
    running.add_argument("--config", metavar="FILE", help="read options from this TOML file")
    running.add_argument("--cleanup", action="store_true", help="remove what a killed daemon left behind, and exit")
    running.add_argument(
        "--flush-cache",
        action="store_true",
        help="make the running daemon forget all sessions that could be resumed, and exit",
    )
    version = f"tcpcryptd {__version__} ({description()}, {post_quantum.description()})"
    parser.add_argument("--version", action="version", version=version)
    return parser


def add_option(group: argparse._ActionsContainer, option: Option) -> None:
    """Adds an option of `OPTIONS` to a parser, or to a group of one."""
    flag = f"--{option.name}"
    if option.kind is None:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=option.help)
    elif option.switched:
        kind = option.kind
        group.add_argument(
            flag, nargs="?", const=kind.read(True), type=_reader(kind), metavar=kind.metavar, help=option.help
        )
        group.add_argument(
            f"--no-{option.name}", dest=option.key, action="store_const", const=kind.read(False), help=f"see {flag}"
        )
    elif option.repeated:
        group.add_argument(
            flag,
            action=_Append,
            type=_reader(option.kind),
            metavar=option.kind.metavar,
            help=f"{option.help}; may be repeated",
        )
    else:
        group.add_argument(flag, type=_reader(option.kind), metavar=option.kind.metavar, help=option.help)


def _reader(kind: Kind) -> Callable[[str], object]:
    def read(text: str) -> object:
        try:
            value: object = kind.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {kind.expected}") from error
        return value

    return read


class _Append(argparse.Action):
    """Collects a tuple; the values of the configuration file are replaced, not added to."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, (*getattr(namespace, self.dest, ()), values))
