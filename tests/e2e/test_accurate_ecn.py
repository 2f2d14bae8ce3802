"""AccECN (RFC 9768), where the kernel has it: kept in plain connections, declined in encrypted ones."""

import pytest

from tcpcryptd.wire.segment import ACK, AE, CWR, ECE, SYN
from tests.e2e.harness import MARKER, Capture, Network, dialogue, exchange, same_session
from tests.e2e.harness.capture import KIND_CRYPT, Segment

OFFER = 0b111
"""The ACE field of a SYN: AE, CWR and ECE."""
ACCEPTED = (0b010, 0b011, 0b100, 0b110)
CLASSIC = 0b001
NO_MARK = 0b101
"""What it counts from."""


def ace(segment: Segment) -> int:
    return (segment.reserved & AE) << 2 | (segment.flags & (CWR | ECE)) >> 6


def talk(network: Network) -> list[Segment]:
    """A connection that is captured at the server."""
    capture: Capture = network.server.capture()
    with dialogue(network) as client:
        for _ in range(5):
            assert exchange(client, MARKER) == MARKER
        if network.server.daemons:
            same_session(network, client)
        port = client.getsockname()[1]
    capture.stop()
    return [each for each in capture.segments() if port in (each.source_port, each.destination_port)]


@pytest.fixture
def accurate(network: Network) -> Network:
    for host in network.hosts():
        if host.run(["sysctl", "-w", "net.ipv4.tcp_ecn=3"], check=False).returncode:
            pytest.skip("this kernel has no AccECN")
    return network


@pytest.mark.parametrize("protocol", ["crypt", "eno"])
def test_a_plain_connection_keeps_it(accurate: Network, protocol: str) -> None:
    accurate.client.start_daemon("--protocol", protocol)
    syn, syn_ack, *others = talk(accurate)
    assert KIND_CRYPT in syn.kinds()
    assert ace(syn) == OFFER
    assert ace(syn_ack) in ACCEPTED
    data = [each for each in others if each.payload]
    assert {ace(each) for each in data} == {NO_MARK}
    assert len({each.source for each in data}) == 2


@pytest.mark.parametrize("protocol", ["crypt", "eno"])
def test_an_encrypted_connection_has_classic_ecn(accurate: Network, protocol: str) -> None:
    for host in accurate.hosts():
        host.start_daemon("--protocol", protocol)
    syn, syn_ack, *others = talk(accurate)
    assert (syn.flags & (SYN | ACK), syn_ack.flags & (SYN | ACK)) == (SYN, SYN | ACK)
    assert (ace(syn), ace(syn_ack)) == (OFFER, CLASSIC)
    assert not any(each.reserved for each in others)
