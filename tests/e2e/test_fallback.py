"""Peers, paths and settings with which nothing can be encrypted: TCP goes on as it was."""

import socket

import pytest

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    Network,
    assert_plain,
    assert_session,
    assert_stays_plain,
    assert_works,
    dialogue,
    exchange,
)

# The router's interface on which segments of that direction come in.
DIRECTIONS = pytest.mark.parametrize("incoming", ["eth0", "eth1"], ids=["to server", "to client"])
TOOL: dict[int, str] = {socket.AF_INET: "iptables", socket.AF_INET6: "ip6tables"}


def start_daemons(network: Network, protocol: str = "crypt") -> None:
    for host in (network.client, network.server):
        host.start_daemon("--protocol", protocol)


@FAMILIES
@BOTH_PROTOCOLS
@pytest.mark.parametrize("with_daemon", ["client", "server"])
def test_peer_without_daemon(network: Network, with_daemon: str, protocol: str, family: int) -> None:
    host = network.client if with_daemon == "client" else network.server
    host.start_daemon("--protocol", protocol)
    assert_stays_plain(network, family=family)


@FAMILIES
@BOTH_PROTOCOLS
@DIRECTIONS
def test_option_stripped_on_the_way(path: Network, incoming: str, protocol: str, family: int) -> None:
    assert path.router
    rule = ["-A", "FORWARD", "-i", incoming, "-p", "tcp", "-j", "TCPOPTSTRIP", "--strip-options", "69"]
    path.router.run([TOOL[family], "-t", "mangle", *rule])
    start_daemons(path, protocol)
    sent, arrived = path.client.capture(), path.server.capture()
    with dialogue(path, family=family) as client:
        assert exchange(client, MARKER * 1000) == MARKER * 1000
        assert path.client.sessions() == path.server.sessions() == []
    sent.stop()
    arrived.stop()
    assert_plain(sent)
    assert 69 in sent.kinds() | arrived.kinds()


@FAMILIES
@BOTH_PROTOCOLS
@DIRECTIONS
def test_segments_with_the_option_swallowed(path: Network, incoming: str, protocol: str, family: int) -> None:
    assert path.router
    rule = ["-A", "FORWARD", "-i", incoming, "-p", "tcp", "--tcp-option", "69", "-j", "DROP"]
    path.router.run([TOOL[family], *rule])
    start_daemons(path, protocol)
    capture = assert_stays_plain(path, family=family)
    assert 69 in capture.kinds()


def test_connections_from_before_the_start_are_left_alone(network: Network) -> None:
    with dialogue(network) as old:
        assert exchange(old, MARKER) == MARKER
        start_daemons(network)
        capture = network.client.capture()
        assert exchange(old, MARKER * 1000) == MARKER * 1000
        assert network.client.sessions() == network.server.sessions() == []
        assert_plain(capture.stop())
        assert_session(network)
        assert exchange(old, MARKER) == MARKER


@pytest.mark.parametrize("with_daemon", ["client", "server"])
def test_plain_connections_run_at_kernel_speed(network: Network, with_daemon: str) -> None:
    host = network.client if with_daemon == "client" else network.server
    host.start_daemon()
    with dialogue(network) as client:
        assert exchange(client, MARKER) == MARKER
        first = host.queued_packets()
        # SYN, ACK and the first data at most in each direction.
        assert 0 < first <= 8
        data = MARKER * 500_000
        assert exchange(client, data) == data
        assert host.queued_packets() == first


def test_port_that_one_side_excludes(network: Network) -> None:
    network.client.start_daemon("--exclude-port", "7777")
    network.server.start_daemon()
    capture = assert_stays_plain(network, port=7777)
    assert 69 not in capture.kinds()


@pytest.mark.parametrize("port", [22, 443, 8443])
def test_ports_with_encryption_of_their_own(encrypted: Network, port: int) -> None:
    capture = assert_stays_plain(encrypted, port=port)
    assert 69 not in capture.kinds()


def test_all_ports_takes_these_too(network: Network) -> None:
    network.client.start_daemon("--all-ports")
    network.server.start_daemon("--all-ports")
    assert_works(network, port=443)


def test_only_the_ports_that_are_named(network: Network) -> None:
    for host in network.hosts():
        host.start_daemon("--port", "7000")
    with dialogue(network, port=7001) as other:
        assert exchange(other, MARKER) == MARKER
        assert network.client.sessions() == []
    assert_session(network, port=7000)


def test_required_destination_is_not_reached_in_plain(network: Network) -> None:
    network.client.start_daemon("--require", f"{network.server.ipv4}/32")
    capture = network.client.capture()
    with pytest.raises(ConnectionError), dialogue(network) as client:
        exchange(client, MARKER * 100)
    assert not capture.stop().contains(MARKER)


def test_required_destination_with_daemon(network: Network) -> None:
    network.client.start_daemon("--require", f"{network.server.ipv4}/32")
    network.server.start_daemon()
    assert_session(network)
