"""Installs, shows and removes the rules; `python3 -m tcpcryptd.netio.firewall.command --help` does it from a shell."""

import argparse
import os
import sys
from collections.abc import Sequence
from ipaddress import ip_network

from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.firewall.choice import NAMES, choose, firewalls, install, remove
from tcpcryptd.netio.firewall.selection import SELF_ENCRYPTED_PORTS, Selection
from tcpcryptd.netio.marks import DEFAULT_MASK, MarkScheme
from tcpcryptd.netio.queue_numbers import DEFAULT_QUEUE, QueueNumbers, default_workers
from tcpcryptd.output import Parser, show, showing


def add_selection_options(parser: argparse.ArgumentParser) -> None:
    """The options that `Selection` is made of."""
    own = ", ".join(map(str, SELF_ENCRYPTED_PORTS))
    parser.add_argument("--port", type=int, action="append", default=[], help="only this port; may be repeated")
    parser.add_argument("--exclude-port", type=int, action="append", default=[], help="not this port; may be repeated")
    parser.add_argument("--all-ports", action="store_true", help=f"also ports that carry their own encryption: {own}")
    parser.add_argument("--interface", action="append", default=[], help="only this interface; may be repeated")
    parser.add_argument("--loopback", action="store_true", help="also connections within this host")
    parser.add_argument(
        "--forward",
        metavar="INTERFACE",
        action="append",
        default=[],
        help="also connections that are forwarded between this interface and others; may be repeated",
    )
    parser.add_argument(
        "--address",
        type=ip_network,
        action="append",
        default=[],
        help="only remote hosts of this network; may be repeated",
    )
    for name, kind in (("require", "that are opened here"), ("require-identity", "in either direction")):
        parser.add_argument(
            f"--{name}",
            type=ip_network,
            action="append",
            default=[],
            metavar="NETWORK",
            help=f"while no daemon runs, connections {kind} with these hosts fail; may be repeated",
        )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=os.environ.get("TCPCRYPTD_PROGRAM", "firewall"),
        description="Rules that divert TCP to tcpcryptd, for people who want to manage them (tcpcryptd --no-firewall).",
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--install", action="store_true", help="install the rules, and replace any that are there")
    action.add_argument("--remove", action="store_true", help="remove all rules of tcpcryptd, and no others")
    action.add_argument("--print", action="store_true", help="print what --install does")
    parser.add_argument(
        "--firewall",
        choices=NAMES,
        default="iptables",
        help="the firewall that gets the rules (default %(default)s)",
    )
    add_selection_options(parser)
    parser.add_argument(
        "--workers",
        type=int,
        default=default_workers(),
        help="as many as the daemon has (default: one for each core that this command may use)",
    )
    parser.add_argument(
        "--queue",
        type=int,
        default=DEFAULT_QUEUE,
        help=f"first of the queue numbers, three for each worker (default {DEFAULT_QUEUE})",
    )
    parser.add_argument(
        "--mark-mask",
        type=lambda text: int(text, 0),
        default=DEFAULT_MASK,
        help=f"bits of the packet mark to use (default {DEFAULT_MASK:#x})",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = _parser()
    return showing(parser.prog, lambda: _run(parser, arguments), failure=ExitCode.FAILURE, reader_left=ExitCode.OK)


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    options = parser.parse_args(arguments)
    try:
        selection = Selection(
            ports=tuple(options.port),
            exclude_ports=tuple(options.exclude_port),
            all_ports=options.all_ports,
            interfaces=tuple(options.interface),
            addresses=tuple(options.address),
            forward=tuple(options.forward),
            loopback=options.loopback,
            require=tuple(options.require),
            require_identity=tuple(options.require_identity),
        )
        queues = QueueNumbers.starting_at(options.queue, options.workers)
        every = firewalls(selection, queues, MarkScheme(options.mark_mask))
    except ValueError as error:
        parser.error(str(error))
    try:
        if options.print:
            show(every[options.firewall].text(), end="")
        elif options.install:
            install(choose(options.firewall, every), every)
        else:
            remove(every)
    except DaemonError as error:
        sys.stderr.write(f"{parser.prog}: {error.message}\n")
        return error.exit_code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
