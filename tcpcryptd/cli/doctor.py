"""`tcpcryptd doctor`: checks whether this host is fit for tcpcryptd, and says what to do if not."""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from tcpcryptd.cli import post_quantum
from tcpcryptd.cli.arguments import add_option
from tcpcryptd.cli.assembly import daemon_config
from tcpcryptd.cli.config import ConfigError, Settings, load_settings
from tcpcryptd.cli.doctor_identity import examine_identity
from tcpcryptd.cli.options import OPTIONS
from tcpcryptd.netio.doctor import Finding, SelfTest, Severity, examine
from tcpcryptd.output import Parser, show, showing

_OPTIONS = (
    *("workers", "queue", "mark-mask", "user", "firewall", "runtime-directory", "control-socket", "libtcpcrypt-port"),
    *("identity", "peers"),
)
_EPILOG = f"""\
The self-test makes two network namespaces with a daemon each, and removes them. Nothing else on this host is changed.

Exit codes:
  {Severity.OK:d}  all is well
  {Severity.WARNING:d}  it works, with warnings
  {Severity.PROBLEM:d}  a problem, or a wrong option
"""


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns its exit code, a Severity."""
    program = "tcpcryptd doctor"
    return showing(program, lambda: _run(arguments), failure=Severity.PROBLEM, reader_left=Severity.PROBLEM)


def _run(arguments: Sequence[str]) -> int:
    given = vars(build_parser().parse_args(arguments))
    file = given.get("config")
    try:
        settings = load_settings(Path(file) if file is not None else None, given)
        findings = _findings(settings, given["self_test"])
    except ConfigError as error:
        print(f"tcpcryptd doctor: {error}", file=sys.stderr)
        return Severity.PROBLEM
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        return _show(findings)
    except KeyboardInterrupt:
        print("tcpcryptd doctor: interrupted", file=sys.stderr)
        return Severity.PROBLEM


def _findings(settings: Settings, self_test: bool) -> Iterator[Finding]:
    config = daemon_config(settings)

    def find() -> Iterator[Finding]:
        yield from examine(config, settings.control_socket_path, settings.libtcpcrypt_port)
        yield from post_quantum.check()
        yield from examine_identity(settings)
        if self_test:
            yield from (SelfTest(protocol).run() for protocol in ("crypt", "eno"))

    return find()


def _show(findings: Iterator[Finding]) -> int:
    worst = Severity.OK
    for finding in findings:
        show(f"{finding.severity.name.lower():<8} {finding.subject}: {finding.text}")
        if finding.advice:
            show(f"{'':8} -> {finding.advice}")
        worst = max(worst, finding.severity)
    return worst


def _end(number: int, _frame: FrameType | None) -> None:
    # By way of an exception, so that the self-test cleans up.
    raise SystemExit(128 + number)


def build_parser() -> argparse.ArgumentParser:
    """The parser of its arguments."""
    parser = Parser(
        prog="tcpcryptd doctor",
        description="Looks at what tcpcryptd needs on this host, one line for each check, with advice where needed.",
        epilog=_EPILOG,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--self-test",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="encrypt a connection between two daemons in temporary namespaces (default)",
    )
    parser.add_argument("--config", metavar="FILE", help="the daemon's configuration file")
    for option in OPTIONS:
        if option.name in _OPTIONS:
            add_option(parser, option)
    return parser
