"""Captures as files."""

from collections.abc import Iterator
from dataclasses import dataclass

from scapy.error import Scapy_Exception
from scapy.utils import PcapReader

from tcpcryptd.dissect.segment import Dissection, dissect


class CaptureError(Exception):
    """A file that cannot be read or is no capture; the message says why."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A TCP packet of a capture."""

    number: int
    """As tshark counts: from 1, over all packets."""
    time: float
    """Seconds since the capture's first packet."""
    dissection: Dissection


def read_capture(file: str) -> Iterator[Captured]:
    """The TCP packets of a pcap or pcapng file, `-` for standard input; raises CaptureError."""
    start: float | None = None
    try:
        with PcapReader("/dev/stdin" if file == "-" else file) as packets:
            for number, packet in enumerate(packets, 1):
                time = float(packet.time)
                start = time if start is None else start
                dissection = dissect(packet)
                if dissection is not None:
                    yield Captured(number, time - start, dissection)
    except (OSError, EOFError, Scapy_Exception) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CaptureError(f"{file}: {reason}") from error
