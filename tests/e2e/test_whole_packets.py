"""What an application sends over `crypt` reaches the daemon in packets of many segments, and the wire in segments."""

import random
import socket
from collections.abc import Iterator

import pytest
from scapy.utils import RawPcapReader

from tcpcryptd.crypt.handshake.server_exchange import looks_like_init1
from tcpcryptd.wire.options import find, parse
from tcpcryptd.wire.segment import Segment, locate
from tcpcryptd.wire.sequence import add
from tests.e2e.harness import Capture, Network, dialogue, exchange, read_all, same_session, serve, wait_until

FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
DATA = random.Random(69).randbytes(3_000_000)
MTU = 1500
ETHERNET_HEADER = 14
MAC = 70
LARGE = 1000
"""Bytes of packet that only what was cut has here."""


@pytest.fixture
def whole(network: Network) -> Network:
    """Two hosts whose daemons take packets before they are cut."""
    for host in network.hosts():
        host.start_daemon("--whole-packets")
    return network


def upload(network: Network, family: int) -> None:
    """Sends the data from client to server."""
    got: list[bytes] = []

    def collect(connection: socket.socket) -> None:
        got.append(read_all(connection))

    with (
        serve(network.server.listen(0, family), collect) as port,
        network.client.connect(network.server.address(family), port) as client,
    ):
        client.sendall(DATA)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert got == [DATA]


def large_segments(capture: Capture, source: str, version: int, above: int = LARGE) -> Iterator[Segment]:
    address = socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, source)
    with RawPcapReader(str(capture._file)) as frames:
        for frame, _ in frames:
            packet = bytes(frame)[ETHERNET_HEADER:]
            if (
                len(packet) > above
                and packet[0] >> 4 == version
                and packet[9 if version == 4 else 6] == socket.IPPROTO_TCP
            ):
                segment = Segment(packet, locate(packet)[0])
                if segment.addresses.startswith(address):
                    yield segment


@FAMILIES
def test_segments_on_the_wire(whole: Network, family: int) -> None:
    capture = whole.server.capture()
    upload(whole, family)
    capture.stop()
    version = 4 if family == socket.AF_INET else 6
    # With a post-quantum key INIT1 is large as well.
    init1, *segments = large_segments(capture, whole.client.address(family), version)
    assert looks_like_init1(init1.payload)
    # The kernel's packets are not all full segments: how many depends on how fast it sends.
    assert sum(segment.payload_length for segment in segments) > len(DATA) * 0.8
    assert max(len(segment.packet) for segment in segments) <= MTU
    assert all(find(parse(segment.option_area), MAC) is not None for segment in segments)
    # Whoever is on the way may look at it, and the next host does.
    assert all(segment.checksum_is_right for segment in segments)
    # In order: nothing is sent again, and nothing small has changed places with what was cut.
    sent = [each for each in large_segments(capture, whole.client.address(family), version, 0) if each.payload_length]
    ends = [add(segment.sequence, segment.payload_length) for segment in sent]
    following = sum(after.sequence == end for end, after in zip(ends, sent[1:], strict=False))
    assert following > 0.97 * len(sent)
    found = whole.client.counters()
    assert found["segments_sent"] >= len(segments)
    assert found["segment_errors"] == 0
    # Whole: several segments to a packet.
    assert found["stream_packets"] < len(segments) + found["encrypted_packets"]
    assert whole.server.counters().get("integrity_failures", 0) == 0


@FAMILIES
def test_an_interface_that_is_slower_than_the_daemon(whole: Network, family: int) -> None:
    """Segments wait, and the kernel sends no faster than they leave: none is lost for want of room."""
    host, qdisc = whole.client, ["dev", "eth0", "root"]
    shaper = ["tbf", "rate", "40mbit", "burst", "16kb", "limit", "2mb"]
    sent, got = bytearray(), []

    def collect(connection: socket.socket) -> None:
        got.append(read_all(connection))

    with (
        serve(whole.server.listen(0, family), collect) as port,
        host.connect(whole.server.address(family), port) as client,
    ):

        def send(data: bytes) -> None:
            client.sendall(data)
            sent.extend(data)

        def has_waited() -> bool:
            """The interface becomes slow while the kernel still makes packets for a fast one; soon they are small."""
            send(DATA)
            host.run(["tc", "qdisc", "add", *qdisc, *shaper])
            send(DATA[:400_000])
            host.run(["tc", "qdisc", "del", *qdisc])
            return host.counters()["segment_waits"] > 0

        wait_until(has_waited, "segments wait", 60)
        host.run(["tc", "qdisc", "add", *qdisc, *shaper])
        send(DATA)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert got == [sent]
    assert host.counters()["segment_errors"] == 0


@FAMILIES
def test_segments_take_the_way_of_their_source_address(whole: Network, family: int) -> None:
    """With a route that only this source address has, as on a host with two providers."""
    host, version = whole.client, "-4" if family == socket.AF_INET else "-6"
    local, remote = host.address(family), whole.server.address(family)
    got: list[bytes] = []

    def converse(connection: socket.socket) -> None:
        connection.sendall(connection.recv(1))
        got.append(read_all(connection))

    with serve(whole.server.listen(0, family), converse) as port, host.connect(remote, port) as client:
        assert exchange(client, b".") == b"."
        host.run(["ip", version, "route", "add", remote, "dev", "eth0", "table", "100"])
        host.run(["ip", version, "rule", "add", "from", local, "lookup", "100"])
        host.run(["ip", version, "route", "add", "unreachable", remote])
        client.sendall(DATA)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert got == [DATA]
    assert host.counters()["segment_errors"] == 0


def test_the_kernel_sends_all_unless_asked_otherwise(network: Network) -> None:
    for host in network.hosts():
        host.start_daemon()
    upload(network, socket.AF_INET)
    with dialogue(network) as client:
        same_session(network, client)
    found = network.client.counters()
    assert (found["segments_sent"], found["stream_packets"]) == (0, 0)
