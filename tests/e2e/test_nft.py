"""Rules of nft: what those of iptables cannot do, and where the two meet. Needs a kernel with `nft queue`."""

import socket

import pytest

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    MARKER,
    Host,
    Network,
    assert_encrypted,
    assert_session,
    dialogue,
    echo_server,
    exchange,
    same_session,
    serve,
    wait_until,
)
from tests.e2e.harness.daemon import entry_point
from tests.e2e.harness.process import run
from tests.e2e.test_others_rules import (
    PORT,
    SENT,
    USER,
    Counters,
    assert_same,
    far_dialogue,
    policy,
    second_wire,
    segments_of_port,
)

PROBE = "table inet probe {\n chain c {\n queue num 1\n }\n}"
NFT = "--firewall", "nft"
EARLY = """table inet early{number} {{
    chain c {{
        type filter hook output priority {priority}; policy accept;
    }}
}}"""
HIDDEN = """
for name in iptables-save iptables ip6tables-save ip6tables iptables-restore ip6tables-restore; do
    program=$(readlink -f "$(command -v $name)")
    [ -x "$program" ] && mount --bind /dev/null "$program"
done
exec "$@"
"""
"""A host without iptables, for this process and its children."""


@pytest.fixture(autouse=True)
def _kernel(_root: None) -> None:
    # Inside of a network namespace that ends with the command.
    if run(["unshare", "--net", "nft", "-c", PROBE], check=False).returncode != 0:
        pytest.skip("the kernel has no nft queue")


def start(network: Network, protocol: str, *options: str) -> None:
    for host in network.hosts():
        host.start_daemon(*NFT, "--protocol", protocol, *options)


def ours(host: Host) -> str:
    return host.run(["nft", "list", "table", "inet", "tcpcryptd"], check=False).stdout


def mangle(host: Host) -> str:
    return host.run(["iptables-save", "-t", "mangle"]).stdout


@BOTH_PROTOCOLS
def test_ip_rule_uidrange(network: Network, protocol: str) -> None:
    """What a user sends takes their way, though the daemon has changed it."""
    client = network.client
    second_wire(network, socket.AF_INET)
    policy(client, socket.AF_INET, "uidrange", f"{USER}-{USER}")
    start(network, protocol)
    first, second = client.capture("eth0"), client.capture("eth1")
    with far_dialogue(network, socket.AF_INET, USER) as connection:
        assert exchange(connection, MARKER * 1000) == MARKER * 1000
        same_session(network, connection)
    first.stop()
    second.stop()
    assert segments_of_port(second)
    assert not segments_of_port(first)
    assert not second.contains(MARKER)


def test_after_a_death_undecided_packets_skip_no_rule(network: Network) -> None:
    client = network.client
    start(network, "crypt")
    client.daemons[0].kill()
    sent = Counters(client, "iptables", SENT, "-o", "eth0")
    with dialogue(network, port=PORT) as connection:
        assert exchange(connection, MARKER) == MARKER
    assert_same(sent, 4)
    client.run(["iptables", "-t", "mangle", "-A", "OUTPUT", "-p", "tcp", "--dport", str(PORT), "-j", "DROP"])
    with serve(network.server.listen(PORT), echo_server), pytest.raises(TimeoutError):
        client.connect(network.server.ipv4, PORT, 1.5)


@BOTH_PROTOCOLS
def test_a_chain_that_comes_before_ours_while_a_packet_is_with_the_daemon(network: Network, protocol: str) -> None:
    """The kernel forgets which chain is next, and the packet comes to ours again: it is not enciphered twice."""
    client = network.client
    start(network, protocol)
    capture = client.capture()
    with dialogue(network) as connection:
        assert exchange(connection, MARKER * 10) == MARKER * 10
        same_session(network, connection)
        for number in range(3):
            client.daemons[0].pause()
            connection.sendall(MARKER * 10)
            client.run(["nft", EARLY.format(number=number, priority=-190 - number)])
            client.daemons[0].resume()
            received = b""
            while len(received) < len(MARKER) * 10:
                received += connection.recv(65536)
            assert received == MARKER * 10
    assert_encrypted(capture.stop(), protocol)


@BOTH_PROTOCOLS
def test_marks_that_others_set_within_this_host(host: Host, protocol: str) -> None:
    """Whole marks, on what the daemon injects as well."""
    host.start_daemon(*NFT, "--loopback", "--protocol", protocol)
    host.run(["iptables", "-t", "mangle", "-A", "OUTPUT", "-j", "MARK", "--set-mark", "1"])
    with serve(host.listen(PORT), echo_server), host.connect("127.0.0.1", PORT) as connection:
        assert exchange(connection, MARKER * 1000) == MARKER * 1000
        assert len(host.sessions()) == 2


@pytest.mark.parametrize(("first", "second"), [("iptables", "nft"), ("nft", "iptables")])
def test_what_the_other_one_had_is_replaced_and_removed(network: Network, first: str, second: str) -> None:
    """By a start, and by a clean-up."""
    host = network.client

    def has_rules(name: str) -> bool:
        return ("TCPCRYPTD" in mangle(host), bool(ours(host))) == (name == "iptables", name == "nft")

    network.server.start_daemon(*NFT)
    host.start_daemon("--firewall", first).kill()
    assert has_rules(first)
    daemon = host.start_daemon("--firewall", second)
    assert "replacing the firewall rules" in daemon.log()
    assert has_rules(second)
    assert_session(network)
    daemon.kill()
    host.run([*entry_point("tcpcryptd"), "--cleanup"])
    assert not host.own_rules()


def test_auto_takes_nft_and_needs_no_iptables(network: Network) -> None:
    without_iptables = ["sh", "-c", HIDDEN, "hidden"]
    host = network.client
    network.server.start_daemon(*NFT)
    daemon = host.start_wrapped_daemon(without_iptables, "--firewall", "auto")
    wait_until(lambda: "rules of nft" in daemon.log(), "the log says whose rules they are")
    assert "iptables" not in daemon.log()
    assert 'tcpcryptd_firewall{name="nft"} 1' in host.tcnetstat("--metrics").stdout
    assert_session(network)
    assert daemon.stop() == 0
    assert not ours(host)
    refused = host.launch_wrapped_daemon(without_iptables, "--firewall", "iptables")
    assert refused.wait() == 4
    assert "install the package iptables" in refused.log()
