"""What was on the wire: tcpdump into a file, read back segment by segment."""

import secrets
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

from scapy.packet import Packet
from scapy.utils import PcapReader, RawPcapReader

from tcpcryptd.wire import options
from tests.e2e.harness.process import wait_until

if TYPE_CHECKING:
    from tests.e2e.harness.host import Host

ETHERNET_HEADER = 14
LINKTYPE_RAW = 101
DISCARD_PORT = 9
TAIL_BYTES = 8 << 20
"""What a transfer at full speed can put behind the mark of the end before it is looked for."""
KIND_CRYPT = 69
KIND_MAC = 70


@dataclass(frozen=True)
class Segment:
    """One captured TCP segment; flags as in the header's fourteenth byte, and the four bits before them."""

    source: str
    destination: str
    source_port: int
    destination_port: int
    flags: int
    options: bytes
    payload: bytes
    reserved: int

    def kinds(self) -> set[int]:
        """The kinds of its options, looking past padding as the reference daemon's peers have to."""
        return {kind for kind, _ in options.parse(self.options)}


def parse_packet(packet: bytes) -> Segment | None:
    """The TCP segment in an IP packet; None for anything else."""
    if not packet:
        return None
    if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_TCP:
        header = (packet[0] & 15) * 4
        ends = str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20]))
        tcp = packet[header : int.from_bytes(packet[2:4], "big") or None]
    elif packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_TCP:
        ends = str(IPv6Address(packet[8:24])), str(IPv6Address(packet[24:40]))
        length = int.from_bytes(packet[4:6], "big")
        tcp = packet[40 : 40 + length if length else None]
    else:
        return None
    offset = (tcp[12] >> 4) * 4
    return Segment(
        *ends,
        source_port=int.from_bytes(tcp[0:2], "big"),
        destination_port=int.from_bytes(tcp[2:4], "big"),
        flags=tcp[13],
        options=tcp[20:offset],
        payload=tcp[offset:],
        reserved=tcp[12] & 0x0F,
    )


class Capture:
    """A running tcpdump on one interface of a host."""

    def __init__(self, host: "Host", interface: str, file: Path, also: str = "") -> None:
        """`also`: what to capture besides TCP, as pcap-filter(7) has it."""
        self._host = host
        self._file = file
        log = file.with_suffix(".log")
        expression = f"tcp or udp port {DISCARD_PORT}" + (f" or {also}" if also else "")
        command = ["tcpdump", "-i", interface, "-Z", "root", "-U", "-s", "0", "-B", "32768", "--immediate-mode"]
        self._process = host.namespace.spawn([*command, "-w", str(file), expression], log=log)
        self._interface = interface
        wait_until(lambda: self._process.poll() is not None or b"listening on" in log.read_bytes(), "tcpdump listens")

    def stop(self) -> "Capture":
        """Ends the capture when all that has been on the wire until now is in the file; returns it."""
        # A datagram that no one else sends marks the end: tcpdump writes in order.
        token = secrets.token_bytes(16)
        with self._host.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode())
            sender.sendto(token, ("127.0.0.1" if self._interface == "lo" else "255.255.255.255", DISCARD_PORT))
        wait_until(lambda: token in self._tail(), "the capture has caught up")
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        return self

    def _tail(self) -> bytes:
        with self._file.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read()

    def holds(self, text: bytes) -> bool:
        """Whether the text was on the wire in whatever packet."""
        return text in self._file.read_bytes()

    def segments(self) -> Iterator[Segment]:
        """The captured TCP segments in order; a running capture gives what is in the file so far."""
        with RawPcapReader(str(self._file)) as frames:
            link_header = 0 if frames.linktype == LINKTYPE_RAW else ETHERNET_HEADER
            for frame, _ in frames:
                segment = parse_packet(bytes(frame[link_header:]))
                if segment:
                    yield segment

    def packets(self) -> Iterator[Packet]:
        """All captured packets as scapy reads them, which takes far longer than `segments`."""
        with PcapReader(str(self._file)) as packets:
            yield from packets

    def kinds(self) -> set[int]:
        """The TCP option kinds that were on the wire."""
        return set().union(*(segment.kinds() for segment in self.segments()))

    def contains(self, text: bytes) -> bool:
        """True when the text stands in the payload of one segment; repeat it, so that some segment has it whole."""
        return any(text in segment.payload for segment in self.segments())

    def size(self) -> int:
        """Payload bytes on the wire."""
        return sum(len(segment.payload) for segment in self.segments())
