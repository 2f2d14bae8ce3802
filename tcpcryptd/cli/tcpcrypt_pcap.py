"""tcpcrypt-pcap: shows the connections of a capture, and how much of them is plain or encrypted."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tcpcryptd import __version__
from tcpcryptd.cli.progress import Progress
from tcpcryptd.crypto.key_log import KeyLogError
from tcpcryptd.dissect import CaptureError, CaptureFile, read_capture
from tcpcryptd.output import Parser, show, showing
from tcpcryptd.pcap import MAX_MATCHES, ConnectionTable, Finder, KeyBook, Kind, Match
from tcpcryptd.pcap.report import describe, describe_chunk, describe_match

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_NOT_FOUND = 3

_READABLE = (Kind.PLAIN, Kind.UNKNOWN, Kind.DECIPHERED)
_EPILOG = f"""\
Reads both protocols: crypt, and TCP-ENO with tcpcrypt. > marks segments of the connection's opener, < those of the
other end. Payload is "handshake", "ciphertext", "plain", or "unknown" if the capture lacks the connection's
beginning; retransmissions count again. "deciphered" payload was opened with a key log and is authentic. Without a key
log nothing is checked: "ciphertext" is where the protocol has it.

Exit codes:
  {EXIT_OK}  done; with --find: the text was found
  {EXIT_FAILURE}  a file cannot be read, or is not what it should be
  2  wrong argument
  {EXIT_NOT_FOUND}  with --find: the text was not found
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return showing("tcpcrypt-pcap", lambda: _main(arguments), failure=EXIT_FAILURE, reader_left=EXIT_OK)


def _main(arguments: Sequence[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        keys = KeyBook.read(options.keylog) if options.keylog is not None else None
    except KeyLogError as error:
        return _fail(f"{options.keylog}: {error}")
    except OSError as error:
        return _fail(f"{options.keylog}: {error.strerror}")
    return _run(options, keys)


def _fail(message: str) -> int:
    print(f"tcpcrypt-pcap: {message}", file=sys.stderr)
    return EXIT_FAILURE


def _run(options: argparse.Namespace, keys: KeyBook | None) -> int:
    table = ConnectionTable(keys)
    finder = Finder(options.find) if options.find is not None else None
    # As lines, since a match has its packet's payload.
    matches: list[str] = []
    failure: CaptureError | None = None
    try:
        with CaptureFile(options.file) as file:
            matches += map(describe_match, _read(options, file, table, finder))
            if file.is_cut:
                print(f"tcpcrypt-pcap: {options.file}: ends within a packet", file=sys.stderr)
    except CaptureError as error:
        # What had been read is of use all the same.
        failure = error
    for connection in table.connections:
        show("\n".join(describe(connection)))
    for match in matches:
        show(match)
    if failure is not None:
        return _fail(str(failure))
    if finder is None or matches:
        return EXIT_OK
    show("not found")
    return EXIT_NOT_FOUND


def _read(
    options: argparse.Namespace, file: CaptureFile, table: ConnectionTable, finder: Finder | None
) -> Iterator[Match]:
    progress = Progress(file.size)
    try:
        for captured in read_capture(file):
            progress.note(captured.number, lambda: file.position)
            for chunk in table.add(captured):
                if options.text and chunk.kind in _READABLE:
                    progress.clear()
                    show(describe_chunk(chunk))
                if finder is not None:
                    yield from finder.feed(chunk)
    except KeyboardInterrupt:
        # How a live capture on standard input ends: what has come is listed.
        pass
    finally:
        progress.clear()


def _text(argument: str) -> bytes:
    if not argument:
        raise ValueError
    return os.fsencode(argument)


# What argparse calls it when it is wrong.
_text.__name__ = "text"


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = Parser(
        prog="tcpcrypt-pcap",
        description="Lists the TCP connections of a pcap or pcapng file with their tcpcrypt handshakes, and says how "
        "much of their payload is ciphertext.",
        epilog=_EPILOG,
    )
    parser.add_argument("file", metavar="FILE", help="capture as tcpdump -w writes it; - for standard input")
    parser.add_argument(
        "--find",
        type=_text,
        metavar="TEXT",
        help="find this text, on the wire and in deciphered payload; lists "
        f"{MAX_MATCHES:,} places in each direction of a connection, and says where more begin",
    )
    parser.add_argument(
        "--keylog", type=Path, metavar="FILE", help="decipher with the keys that tcpcryptd --keylog wrote"
    )
    parser.add_argument("--text", action="store_true", help="print plain and deciphered payload, packet by packet")
    parser.add_argument("--version", action="version", version=f"tcpcrypt-pcap {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
