"""Captures as files."""

from collections.abc import Iterator
from typing import NamedTuple

from tcpcryptd.dissect.capture_file import CaptureFile
from tcpcryptd.dissect.link import NOT_TCP, UNUSUAL, find_tcp, scapy_packet
from tcpcryptd.dissect.segment import Dissection, dissect, dissect_ip


class Captured(NamedTuple):
    """A TCP packet of a capture."""

    number: int
    """As tshark counts: from 1, over all packets."""
    time: float
    """Seconds since the capture's first packet."""
    dissection: Dissection


def read_capture(file: CaptureFile | str) -> Iterator[Captured]:
    """The TCP packets of a pcap or pcapng file, `-` for standard input; raises CaptureError."""
    for number, (time, dissection) in enumerate(read_packets(file), 1):
        if dissection is not None:
            yield Captured(number, time, dissection)


def read_packets(file: CaptureFile | str) -> Iterator[tuple[float, Dissection | None]]:
    """Each packet's seconds since the first one, and what is in it when it is TCP; raises CaptureError."""
    if isinstance(file, str):
        with CaptureFile(file) as opened:
            yield from read_packets(opened)
        return
    first: int | None = None
    for time, link_type, frame in file:
        if first is None:
            first = time
        yield (time - first) / 1e9, _dissect(link_type, frame)


def _dissect(link_type: int, frame: bytes) -> Dissection | None:
    start = find_tcp(link_type, frame)
    if start == NOT_TCP:
        return None
    return dissect(scapy_packet(link_type, frame)) if start == UNUSUAL else dissect_ip(frame[start:])
