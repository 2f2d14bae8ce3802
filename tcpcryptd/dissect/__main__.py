"""python -m tcpcryptd.dissect: one line for each packet of a capture."""

import sys
from collections.abc import Sequence

from tcpcryptd.dissect.capture import read_packets
from tcpcryptd.dissect.capture_file import CaptureError
from tcpcryptd.dissect.segment import NOT_TCP
from tcpcryptd.output import Parser, show, showing

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
    return showing("dissect", lambda: _main(arguments), failure=EXIT_FAILURE, reader_left=EXIT_OK)


def _main(arguments: Sequence[str] | None) -> int:
    parser = Parser(
        prog="python -m tcpcryptd.dissect",
        description="Shows the tcpcrypt handshake in a pcap or pcapng file, one line a packet.",
        epilog=_EPILOG,
    )
    parser.add_argument("file", metavar="FILE", help="capture as tcpdump -w writes it; - for standard input")
    file = parser.parse_args(arguments).file
    try:
        _show(file)
    except KeyboardInterrupt:
        # How a live capture on standard input ends.
        pass
    except CaptureError as error:
        sys.stderr.write(f"dissect: {error}\n")
        return EXIT_FAILURE
    return EXIT_OK


def _show(file: str) -> None:
    for time, dissection in read_packets(file):
        show(f"{time:10.6f} {dissection or NOT_TCP}")


if __name__ == "__main__":
    sys.exit(main())
