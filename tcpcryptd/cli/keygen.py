"""`tcpcryptd keygen`: makes a key with which this host can prove who it is."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tcpcryptd.crypto.identity import generate_private_key, public_key
from tcpcryptd.crypto.ssh_keys import write_private_key
from tcpcryptd.identity.public_key import fingerprint, key_line
from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.process.identity_files import write_key_pair
from tcpcryptd.output import Parser, show, showing

DEFAULT_KEY: Final = "/etc/tcpcryptd_ed25519_key"

_DESCRIPTION = """\
Makes an Ed25519 key in OpenSSH's format, without passphrase, with which this host can prove itself to others
(--identity). A host that has /etc/ssh/ssh_host_ed25519_key needs none: it can use that one.
"""
_EPILOG = f"""\
The public key goes to FILE.pub. On the other hosts, a line with this host's addresses and that key belongs in the file
that --peers names (docs/fleet.md).

Exit codes:
  {ExitCode.OK:d}  done
  {ExitCode.FAILURE:d}  a file is there already, or cannot be written
  {ExitCode.USAGE:d}  wrong option
"""


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns its exit code."""
    return showing("tcpcryptd keygen", lambda: _run(arguments), failure=ExitCode.FAILURE, reader_left=ExitCode.OK)


def _run(arguments: Sequence[str]) -> int:
    path = Path(build_parser().parse_args(arguments).file)
    private = generate_private_key()
    public = public_key(private)
    try:
        write_key_pair(path, write_private_key(private), f"{key_line(public)}\n".encode())
    except DaemonError as error:
        print(f"tcpcryptd keygen: {error.message}", file=sys.stderr)
        return ExitCode.FAILURE
    show(f"{path}: {fingerprint(public)}\n{key_line(public)}")
    return ExitCode.OK


def build_parser() -> argparse.ArgumentParser:
    """The parser of its arguments."""
    parser = Parser(
        prog="tcpcryptd keygen",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "file", nargs="?", default=DEFAULT_KEY, metavar="FILE", help=f"where to put it (default {DEFAULT_KEY})"
    )
    return parser
