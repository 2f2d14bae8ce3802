"""Links whose packets are larger than the kernel's message to a queue, which holds 65,531 bytes."""

import random
import socket
import struct

import pytest

from tcpcryptd.netio.kernel import netlink
from tests.e2e.conftest import MakeNetwork
from tests.e2e.harness import FAMILIES, Host, Network, dialogue, exchange, same_session, wait_until

DATA = random.Random(69).randbytes(1_000_000) * 8
ENO = ("--protocol", "eno")
DAEMONS = pytest.mark.parametrize("options", [ENO, ("--whole-packets",)], ids=["eno", "whole"])
LOST = ("queue_truncated", "held_back", "segment_errors", "injection_errors", "too_long")


def assert_carried(network: Network, family: int) -> None:
    """Data both ways, without anything that the daemons had to drop."""
    with dialogue(network, family=family) as client:
        same_session(network, client)
        assert exchange(client, DATA) == DATA
    for host in network.hosts():
        found = host.counters()
        assert {name: found.get(name, 0) for name in LOST} == dict.fromkeys(LOST, 0)


@FAMILIES
@DAEMONS
def test_an_mtu_of_64_kib(make_pair: MakeNetwork, options: tuple[str, ...], family: int) -> None:
    network = make_pair(65_535)
    for host in network.hosts():
        host.start_daemon(*options)
    assert_carried(network, family)
    assert network.client.counters()["queue_oversize"] == 0


def allow_big_packets(host: Host) -> None:
    """As `ip link set` does with gso_max_size, gro_max_size, and if it knows them gso_ipv4_max_size and its like."""
    with host.namespace.entered():
        link = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex("eth0"), 0, 0)
        for attribute in (41, 58, 63, 64):
            body = link + netlink.attribute(attribute, struct.pack("=I", 180_000))
            netlink.transact(0, netlink.message(16, netlink.REQUEST | netlink.ACKNOWLEDGE, 0, body))


@pytest.mark.parametrize(
    ("options", "family"),
    [(ENO, socket.AF_INET), (ENO, socket.AF_INET6), (("--whole-packets",), socket.AF_INET6)],
    ids=["eno-ipv4", "eno-ipv6", "whole"],
)
def test_big_tcp(network: Network, options: tuple[str, ...], family: int) -> None:
    """The kernel cuts what is too large, and then makes no more of it where that is faster."""
    for host in network.hosts():
        allow_big_packets(host)
        host.start_daemon(*options)
    assert_carried(network, family)
    if family == socket.AF_INET6:
        # With IPv4 it is newer (Linux 6.3).
        def has_cut_some() -> bool:
            """The kernel makes such packets where it takes the path for fast enough."""
            if not network.client.counters()["queue_oversize"]:
                assert_carried(network, family)
            return network.client.counters()["queue_oversize"] > 0

        wait_until(has_cut_some, "a packet is too large", 60)
        assert network.client.counters()["outgrown"] == 1
        assert network.client.log_file.read_text().count("some packets are too large for it") == 1
