"""Stateful firewalls and address translation, on the hosts and on the way."""

import socket

import pytest

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    Host,
    Network,
    assert_session,
    assert_works,
    dialogue,
    exchange,
)

PORT = 7000
TOOLS: dict[int, str] = {socket.AF_INET: "iptables", socket.AF_INET6: "ip6tables"}
CONNTRACK = ["-p", "tcp", "-m", "conntrack", "--ctstate"]


def guard(host: Host, chain: str) -> None:
    """A usual stateful firewall: no invalid segments, established connections, new ones to one port."""
    for rule in (
        [*CONNTRACK, "INVALID", "-j", "DROP"],
        [*CONNTRACK, "ESTABLISHED", "-j", "ACCEPT"],
        [*CONNTRACK, "NEW", "--dport", str(PORT), "-j", "ACCEPT"],
        ["-p", "tcp", "-j", "DROP"],
    ):
        for tool in TOOLS.values():
            host.run([tool, "-A", chain, *rule])


def start(network: Network, protocol: str) -> None:
    """Daemons on the two hosts, not on the router."""
    for host in (network.client, network.server):
        host.start_daemon("--protocol", protocol)


@FAMILIES
@BOTH_PROTOCOLS
@pytest.mark.parametrize("where", ["client", "server", "router"])
def test_stateful_firewall(path: Network, where: str, protocol: str, family: int) -> None:
    assert path.router
    host, chain = {
        "client": (path.client, "INPUT"),
        "server": (path.server, "INPUT"),
        "router": (path.router, "FORWARD"),
    }[where]
    guard(host, chain)
    start(path, protocol)
    assert_works(path, protocol, data=MARKER * 50_000, family=family, port=PORT)


@FAMILIES
@BOTH_PROTOCOLS
def test_address_translation(path: Network, protocol: str, family: int) -> None:
    assert path.router
    path.router.run([TOOLS[family], "-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE"])
    start(path, protocol)
    with dialogue(path, family=family, port=PORT) as client:
        assert exchange(client, MARKER * 50_000) == MARKER * 50_000
        session = path.client.session_id(client)
        (at_server,) = path.server.sessions()
        assert at_server.session_id == session
        assert at_server.remote[0] == ("10.69.2.254" if family == socket.AF_INET else "fd69:2::fe")


def test_own_rules_with_the_script(network: Network) -> None:
    before = network.client.rules()
    network.client.launch_rules("--install", "--port", str(PORT))
    installed = network.client.rules()
    assert network.client.diverts()
    daemon = network.client.start_daemon("--no-firewall")
    network.server.start_daemon()
    assert_session(network, port=PORT)
    assert daemon.stop() == 0
    assert network.client.rules() == installed
    network.client.launch_rules("--remove")
    assert network.client.rules() == before


def test_the_script_prints_without_installing(network: Network) -> None:
    before = network.client.rules()
    printed = network.client.launch_rules("--print", "--port", str(PORT)).stdout
    assert "queue" in printed.lower()
    assert str(PORT) in printed
    assert network.client.rules() == before
