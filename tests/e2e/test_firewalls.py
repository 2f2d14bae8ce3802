"""Stateful firewalls and address translation, on the hosts and on the way."""

import pytest

from tests.e2e.harness import MARKER, Host, Network, assert_encrypted, dialogue, echo_server, exchange, same_session

PORT = 7000
CONNTRACK = ["-p", "tcp", "-m", "conntrack", "--ctstate"]


def guard(host: Host, chain: str) -> None:
    """A usual stateful firewall: no invalid segments, established connections, new ones to one port."""
    for rule in (
        [*CONNTRACK, "INVALID", "-j", "DROP"],
        [*CONNTRACK, "ESTABLISHED", "-j", "ACCEPT"],
        [*CONNTRACK, "NEW", "--dport", str(PORT), "-j", "ACCEPT"],
        ["-p", "tcp", "-j", "DROP"],
    ):
        host.run(["iptables", "-A", chain, *rule])


@pytest.mark.parametrize("where", ["client", "server", "router"])
def test_stateful_firewall(path: Network, where: str) -> None:
    assert path.router
    host, chain = {
        "client": (path.client, "INPUT"),
        "server": (path.server, "INPUT"),
        "router": (path.router, "FORWARD"),
    }[where]
    guard(host, chain)
    path.client.start_daemon()
    path.server.start_daemon()
    capture = path.client.capture()
    with dialogue(path, echo_server, port=PORT) as client:
        assert exchange(client, MARKER * 50_000) == MARKER * 50_000
        same_session(path, client)
    capture.stop()
    assert_encrypted(capture)


def test_address_translation(path: Network) -> None:
    assert path.router
    path.router.run(["iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE"])
    path.client.start_daemon()
    path.server.start_daemon()
    with dialogue(path, echo_server, port=PORT) as client:
        assert exchange(client, MARKER * 50_000) == MARKER * 50_000
        session = path.client.session_id(client)
        (at_server,) = path.server.sessions()
        assert at_server.session_id == session
        assert at_server.remote[0] == "10.69.2.254"


def test_own_rules_with_the_script(network: Network) -> None:
    before = network.client.rules()
    network.client.run(["scripts/launch_iptables.sh", "--install", "--port", str(PORT)])
    installed = network.client.rules()
    assert "NFQUEUE" in installed
    daemon = network.client.start_daemon("--no-firewall")
    network.server.start_daemon()
    with dialogue(network, echo_server, port=PORT) as client:
        assert exchange(client, MARKER) == MARKER
        same_session(network, client)
    assert daemon.stop() == 0
    assert network.client.rules() == installed
    network.client.run(["scripts/launch_iptables.sh", "--remove"])
    assert network.client.rules() == before


def test_the_script_prints_without_installing(network: Network) -> None:
    before = network.client.rules()
    printed = network.client.run(["scripts/launch_iptables.sh", "--print", "--port", str(PORT)]).stdout
    assert "NFQUEUE" in printed
    assert str(PORT) in printed
    assert network.client.rules() == before
