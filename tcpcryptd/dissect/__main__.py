"""python -m tcpcryptd.dissect: one line for each packet of a capture."""

import argparse
import os
import sys
from collections.abc import Sequence

from tcpcryptd.dissect.capture import read_packets
from tcpcryptd.dissect.capture_file import CaptureError
from tcpcryptd.dissect.segment import NOT_TCP

EXIT_OK = 0
EXIT_FAILURE = 1

_EPILOG = f"""\
A line has the seconds since the first packet, source and destination, TCP flags, sequence number and payload length,
then what is in the CRYPT and MAC options and in the INIT1 or INIT2 message.

Exit codes:
  {EXIT_OK}  done, malformed packets among them or not
  {EXIT_FAILURE}  the file cannot be read, or is not a capture
  2  wrong argument
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tcpcryptd.dissect",
        description="Shows the tcpcrypt handshake in a pcap or pcapng file, one line a packet.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="capture as tcpdump -w writes it; - for standard input")
    file = parser.parse_args(arguments).file
    try:
        _show(file)
    except BrokenPipeError:
        # Whoever read it, such as head, has seen enough; the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        # How a live capture on standard input ends.
        pass
    except CaptureError as error:
        sys.stderr.write(f"dissect: {error}\n")
        return EXIT_FAILURE
    return EXIT_OK


def _show(file: str) -> None:
    for time, dissection in read_packets(file):
        sys.stdout.write(f"{time:10.6f} {dissection or NOT_TCP}\n")
        # A live capture shows each packet when it comes.
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
