"""What the two examples are told on the command line."""

import argparse
from pathlib import Path

from tcpcryptd.authenticate import Credentials, Ed25519Key, PresharedKey


def add_credentials(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `credentials`."""
    parser.add_argument(
        "--secret", type=Path, metavar="FILE", help="a pre-shared key: a file of 16 random bytes or more"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="our Ed25519 private key, 32 bytes")
    parser.add_argument(
        "--peer", type=bytes.fromhex, action="append", default=[], metavar="HEX", help="a public key that is believed"
    )


def credentials(arguments: argparse.Namespace) -> Credentials:
    """The credentials that the command line names; exits when there are none."""
    if arguments.secret is not None:
        return PresharedKey(arguments.secret.read_bytes())
    if arguments.key is not None and arguments.peer:
        return Ed25519Key(arguments.key.read_bytes(), arguments.peer)
    raise SystemExit("give --secret FILE, or --key FILE and --peer HEX")
