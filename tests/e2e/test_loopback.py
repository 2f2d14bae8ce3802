"""Connections within one host: left alone, or one daemon that has both ends."""

import random
import socket

import pytest

from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio.marks import MarkScheme
from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    SESSION_ID_LENGTHS,
    Host,
    Network,
    assert_encrypted,
    echo_server,
    exchange,
    serve,
)
from tests.e2e.test_firewalls import TOOLS
from tests.e2e.test_large_packets import LOST


class PlaintextCounter:
    """Counts packets with the marker behind all of the daemon's rules, but for what it injects to the local kernel.

    What TCP-ENO delivers that way takes the loopback interface, too, and is plaintext: only its mark tells it apart.
    """

    def __init__(self, host: Host, family: int) -> None:
        self._host = host
        self._tool = TOOLS[family]
        marks = MarkScheme()
        delivered = marks.match(marks.of_injection(Direction.IN))
        rule = ["-p", "tcp", "-m", "mark", "!", "--mark", delivered, "-m", "string", "--algo", "bm"]
        host.run([self._tool, "-t", "mangle", "-A", "POSTROUTING", *rule, "--string", MARKER.decode()])

    def count(self) -> int:
        """Packets so far."""
        listed = self._host.run([self._tool, "-t", "mangle", "-nvxL", "POSTROUTING"]).stdout
        (line,) = (line for line in listed.splitlines() if "STRING match" in line)
        return int(line.split()[0])


@FAMILIES
def test_the_counter_sees_plaintext(host: Host, family: int) -> None:
    counter = PlaintextCounter(host, family)
    with serve(host.listen(0, family), echo_server) as port, host.connect(host.address(family), port) as client:
        assert exchange(client, MARKER * 1000) == MARKER * 1000
    assert counter.count() > 0


@FAMILIES
@BOTH_PROTOCOLS
def test_both_ends_on_one_host(host: Host, protocol: str, family: int) -> None:
    host.start_daemon("--loopback", "--protocol", protocol)
    counter = PlaintextCounter(host, family)
    capture = host.capture("lo")
    # Segments up to the whole 65,536 bytes of loopback's MTU.
    data = MARKER * 100_000
    with (
        serve(host.listen(0, family), echo_server) as port,
        host.connect(host.address(family), port) as client,
    ):
        session = host.session_id(client)
        assert len(bytes.fromhex(session)) == SESSION_ID_LENGTHS[protocol]
        assert exchange(client, data) == data
        ends = {(s.local, s.remote) for s in host.sessions() if s.session_id == session}
        local, remote = client.getsockname()[:2], client.getpeername()[:2]
        assert ends == {(local, remote), (remote, local)}
    capture.stop()
    assert counter.count() == 0
    if protocol == "crypt":
        # With the other one, what the counter leaves out is in the capture.
        assert_encrypted(capture)
    assert max(len(segment.payload) for segment in capture.segments()) > 9000


@BOTH_PROTOCOLS
def test_short_connections(host: Host, protocol: str) -> None:
    host.start_daemon("--loopback", "--protocol", protocol)
    with serve(host.listen(0), echo_server) as port:
        for number in range(50):
            with host.connect("127.0.0.1", port) as client:
                assert exchange(client, number.to_bytes(100)) == number.to_bytes(100)


def test_they_are_left_alone(network: Network) -> None:
    """By the interface that they take, whatever the address."""
    host = network.client
    host.start_daemon("--all-ports")
    for address in ("127.0.0.1", "::1", host.ipv4, host.ipv6):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with serve(host.listen(0, family), echo_server) as port, host.connect(address, port) as client:
            assert exchange(client, MARKER) == MARKER
    assert host.queued_packets() == 0
    assert host.report("--all") == []


@FAMILIES
@pytest.mark.parametrize("options", [("--protocol", "eno"), ("--whole-packets",)], ids=["eno", "whole"])
def test_nothing_is_lost_in_bulk(host: Host, options: tuple[str, ...], family: int) -> None:
    """Loopback's MTU is larger than an IP packet, and its packets as large as IP allows."""
    host.start_daemon("--loopback", *options)
    data = random.Random(69).randbytes(8_000_000)
    with serve(host.listen(0, family), echo_server) as port, host.connect(host.address(family), port) as client:
        assert host.session_id(client)
        assert exchange(client, data) == data
    found = host.counters()
    assert {name: found.get(name, 0) for name in LOST} == dict.fromkeys(LOST, 0)
    assert found["queue_oversize"] == 0
