"""Rules of others behind ours: each sees each packet once, as the daemon leaves it, and what it does counts."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator, Sequence

import pytest

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    MARKER,
    Capture,
    Host,
    Network,
    Segment,
    assert_session,
    dialogue,
    echo_server,
    exchange,
    same_session,
    serve,
    wait_until,
)
from tests.e2e.harness.daemon import OF_IPTABLES
from tests.e2e.harness.host import SOCKET_SECONDS
from tests.e2e.harness.process import run

PORT = 7000
USER = 54321
"""Nobody else's."""
TOOLS: dict[int, str] = {socket.AF_INET: "iptables", socket.AF_INET6: "ip6tables"}
LEGACY = """
for tool in iptables ip6tables; do
    mount --bind "$(readlink -f "$(command -v iptables-legacy)")" "$(readlink -f "$(command -v $tool)")"
done && exec "$@"
"""
"""Puts iptables-legacy in the place of iptables, for this process and its children: they have mounts of their own."""
VARIANTS: dict[str, Sequence[str]] = {"nft": (), "legacy": ("sh", "-c", LEGACY, "legacy")}
SENT = [("mangle", "OUTPUT"), ("filter", "OUTPUT"), ("mangle", "POSTROUTING")]
RECEIVED = [("mangle", "PREROUTING"), ("mangle", "INPUT"), ("filter", "INPUT")]
NAME = "the rule of somebody else"


class Counters:
    """A rule at the end of each of these chains of a host that counts the segments of one connection's direction."""

    def __init__(self, host: Host, tool: str, chains: Sequence[tuple[str, str]], *match: str) -> None:
        self._host = host
        self._tool = tool
        self._chains = chains
        self._name = f"{NAME} {' '.join(match)}"
        for table, chain in chains:
            rule = ["-p", "tcp", *match, "-m", "comment", "--comment", self._name]
            host.run([tool, "-t", table, "-A", chain, *rule])

    def packets(self) -> list[int]:
        """Of each chain."""
        found = []
        for table, chain in self._chains:
            save = "-save".join(self._tool.partition("-")[::2]) if "-" not in self._tool else f"{self._tool}-save"
            saved = self._host.run([save, "-c", "-t", table]).stdout
            (count,) = re.findall(rf'^\[(\d+):\d+\] -A {chain} .*"{re.escape(self._name)}"', saved, re.MULTILINE)
            found.append(int(count))
        return found


def assert_same(counters: Counters, at_least: int) -> None:
    """All chains have seen the same segments."""
    found: list[int] = []

    def settled() -> bool:
        found[:] = counters.packets()
        return len(set(found)) == 1

    with contextlib.suppress(AssertionError):
        wait_until(settled, "nothing is on its way any more")
    assert len(set(found)) == 1, found
    assert found[0] >= at_least


def talk(network: Network, family: int, encrypted: bool) -> None:
    with dialogue(network, family=family, port=PORT) as client:
        data = MARKER * 3000
        assert exchange(client, data) == data
        if encrypted:
            same_session(network, client)


@pytest.mark.parametrize(
    ("variant", "options", "family"),
    [
        ("nft", None, socket.AF_INET),
        pytest.param("legacy", None, socket.AF_INET6, marks=OF_IPTABLES),
        ("nft", ("--protocol", "crypt"), socket.AF_INET),
        pytest.param("legacy", ("--protocol", "crypt"), socket.AF_INET6, marks=OF_IPTABLES),
        ("nft", ("--protocol", "eno"), socket.AF_INET6),
        pytest.param("legacy", ("--protocol", "eno"), socket.AF_INET, marks=OF_IPTABLES),
        ("nft", ("--whole-packets",), socket.AF_INET),
    ],
)
def test_each_rule_sees_each_packet_once(
    network: Network, variant: str, options: Sequence[str] | None, family: int
) -> None:
    """Also where the peer has no daemon: then some segments are diverted, and the others not."""
    client = network.client
    client.start_wrapped_daemon(VARIANTS[variant], *(options or ()))
    if options is not None:
        network.server.start_daemon(*options)
    tool = TOOLS[family] + ("-legacy" if variant == "legacy" else "")
    sent = Counters(client, tool, SENT, "-o", "eth0")
    received = Counters(client, tool, RECEIVED, "-i", "eth0")
    plaintext = Counters(client, tool, SENT, "-m", "string", "--algo", "bm", "--string", MARKER.decode()[:20])
    talk(network, family, options is not None)
    assert_same(sent, 5)
    assert_same(received, 5)
    if options is not None:
        assert_same(plaintext, 0)
        assert plaintext.packets()[0] == 0


NEAR: dict[int, str] = {socket.AF_INET: "10.98.0.1", socket.AF_INET6: "fd98::1"}
"""An address of the client that the server reaches by the second wire."""
FAR: dict[int, str] = {socket.AF_INET: "10.99.0.1", socket.AF_INET6: "fd99::1"}
"""An address of the server that both wires lead to."""
SECOND: dict[int, tuple[str, str]] = {
    socket.AF_INET: ("10.70.0.1", "10.70.0.2"),
    socket.AF_INET6: ("fd70::1", "fd70::2"),
}


def second_wire(network: Network, family: int) -> None:
    """From eth1 to eth1; eth0 is the way that the main tables know, on the client eth1 that of table 100."""
    client, server = network.client, network.server
    peer = ["type", "veth", "peer", "name", "eth1", "netns", server.namespace.name]
    run(["ip", "link", "add", "eth1", "netns", client.namespace.name, *peer])
    ours, theirs = SECOND[family]
    ip = ["ip", "-4" if family == socket.AF_INET else "-6"]
    nodad = [] if family == socket.AF_INET else ["nodad"]
    prefix = "24" if family == socket.AF_INET else "64"
    for host, address in ((client, ours), (server, theirs)):
        host.run(["ip", "link", "set", "eth1", "up"])
        host.run([*ip, "address", "add", f"{address}/{prefix}", "dev", "eth1", *nodad])
        for name in ("all", "eth0", "eth1"):
            host.namespace.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
    for host, addresses in ((client, NEAR), (server, FAR)):
        host.run([*ip, "address", "add", addresses[family], "dev", "lo", *nodad])
    near = ["src", NEAR[family]]
    client.run([*ip, "route", "add", FAR[family], "via", server.address(family), *near])
    client.run([*ip, "route", "add", FAR[family], "via", theirs, *near, "table", "100"])
    server.run([*ip, "route", "add", NEAR[family], "via", ours])


@contextlib.contextmanager
def far_dialogue(network: Network, family: int, user: int = 0) -> Iterator[socket.socket]:
    """A connection of that user's to the server's other address."""
    with network.client.namespace.entered():
        os.seteuid(user)
        try:
            client = socket.socket(family)
        finally:
            os.seteuid(0)
    with client, serve(network.server.listen(PORT, family), echo_server):
        client.settimeout(SOCKET_SECONDS)
        client.connect((FAR[family], PORT))
        yield client


def segments_of_port(capture: Capture) -> list[Segment]:
    return [each for each in capture.segments() if PORT in (each.source_port, each.destination_port)]


def rule(host: Host, family: int, table: str, chain: str, *words: str) -> None:
    host.run([TOOLS[family], "-t", table, "-A", chain, *words])


def policy(host: Host, family: int, *words: str) -> None:
    host.run(["ip", "-4" if family == socket.AF_INET else "-6", "rule", "add", *words, "lookup", "100"])


@pytest.mark.parametrize(
    ("peer", "family", "mark"),
    [
        (None, socket.AF_INET, "1"),
        ("crypt", socket.AF_INET, "0x1/0xff"),
        ("eno", socket.AF_INET, "1"),
        ("crypt", socket.AF_INET6, "1"),
        ("whole", socket.AF_INET, "1"),
    ],
)
def test_what_a_user_sends_through_a_tunnel(network: Network, peer: str | None, mark: str, family: int) -> None:
    """From the first SYN on, and nothing by another way: the usual recipe of VPN clients."""
    client = network.client
    second_wire(network, family)
    if peer is not None:
        network.server.start_daemon()
    client.start_daemon(*(["--whole-packets"] if peer == "whole" else ["--protocol", peer or "crypt"]))
    rule(client, family, "mangle", "OUTPUT", "-m", "owner", "--uid-owner", str(USER), "-j", "MARK", "--set-mark", "1")
    policy(client, family, "fwmark", mark)
    first, second = client.capture("eth0"), client.capture("eth1")
    with far_dialogue(network, family, USER) as ours:
        assert exchange(ours, MARKER * 1000) == MARKER * 1000
        if peer is not None:
            same_session(network, ours)
    first.stop()
    second.stop()
    assert segments_of_port(second)
    assert not segments_of_port(first)


@pytest.mark.parametrize("peer", [None, "crypt", "eno"])
def test_answers_leave_by_the_uplink_that_the_question_came_by(network: Network, peer: str | None) -> None:
    """Of a server with two uplinks: the connection's mark is kept, and put on what is answered."""
    family = socket.AF_INET
    client, server = network.client, network.server
    second_wire(network, family)
    server.start_daemon()
    if peer is not None:
        client.start_daemon("--protocol", peer)
    asked, answered = SECOND[family]
    # Without the second table the answers would leave by eth0.
    server.run(["ip", "route", "add", f"{asked}/32", "via", client.address(family)])
    server.run(["ip", "route", "add", f"{asked}/32", "dev", "eth1", "table", "100"])
    new = ["-m", "conntrack", "--ctstate", "NEW"]
    rule(server, family, "mangle", "PREROUTING", "-i", "eth1", *new, "-j", "CONNMARK", "--set-mark", "0x2/0xff")
    rule(server, family, "mangle", "OUTPUT", "-j", "CONNMARK", "--restore-mark", "--mask", "0xff")
    policy(server, family, "fwmark", "2")
    first = server.capture("eth0")
    with (
        serve(server.listen(PORT, family), echo_server),
        client.connect(answered, PORT, 5.0) as ours,
    ):
        assert exchange(ours, MARKER * 1000) == MARKER * 1000
        if peer is not None:
            same_session(network, ours)
    first.stop()
    assert not segments_of_port(first)


@BOTH_PROTOCOLS
def test_what_rules_do_to_packets(encrypted: Network, protocol: str) -> None:
    """DSCP on what goes out, in front of a firewall in mangle PREROUTING that lets one port through."""
    client, server = encrypted.client, encrypted.server
    rule(client, socket.AF_INET, "mangle", "OUTPUT", "-p", "tcp", "-j", "DSCP", "--set-dscp", "46")
    others = ["-p", "tcp", "-m", "dscp", "!", "--dscp", "46", "-m", "comment", "--comment", NAME]
    rule(server, socket.AF_INET, "mangle", "PREROUTING", "-i", "eth0", *others)
    rule(server, socket.AF_INET, "mangle", "PREROUTING", "-p", "tcp", "--dport", str(PORT + 1), "-j", "DROP")
    assert_session(encrypted, port=PORT)
    saved = server.run(["iptables-save", "-c", "-t", "mangle"]).stdout
    assert re.search(rf'^\[0:0\] -A PREROUTING .*"{NAME}"', saved, re.MULTILINE)
    with serve(server.listen(PORT + 1), echo_server), pytest.raises(TimeoutError):
        client.connect(server.address(socket.AF_INET), PORT + 1, 1.5)


@pytest.mark.parametrize("variant", ["nft", pytest.param("legacy", marks=OF_IPTABLES)])
def test_rules_of_a_router_that_encrypts_for_others(path: Network, variant: str) -> None:
    """Each sees each packet once, and the segment size that one sets holds."""
    router = path.router
    assert router is not None
    path.server.start_daemon()
    router.start_wrapped_daemon(VARIANTS[variant], "--forward", "eth0")
    tool = "iptables" + ("-legacy" if variant == "legacy" else "")
    clamp = ["-p", "tcp", "--tcp-flags", "SYN,RST", "SYN", "-j", "TCPMSS", "--set-mss", "1000"]
    router.run([tool, "-t", "mangle", "-A", "FORWARD", *clamp])
    chains = [("mangle", "FORWARD"), ("filter", "FORWARD")]
    outwards = Counters(router, tool, chains, "-i", "eth0", "-o", "eth1")
    inwards = Counters(router, tool, chains, "-i", "eth1", "-o", "eth0")
    with dialogue(path, port=PORT) as ours:
        assert exchange(ours, MARKER * 3000) == MARKER * 3000
        assert len(router.sessions()) == 1
    assert_same(outwards, 5)
    assert_same(inwards, 3)
    with dialogue(path) as ours:
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1000


@pytest.mark.parametrize("own_daemon", [True, False])
def test_a_transparent_proxy(path: Network, own_daemon: bool) -> None:
    """On a router: it takes forwarded connections in the place of their server (TPROXY)."""
    router = path.router
    assert router is not None
    if own_daemon:
        router.start_daemon()
    router.run(["ip", "route", "add", "local", "default", "dev", "lo", "table", "100"])
    policy(router, socket.AF_INET, "fwmark", "1")
    proxy = ["-p", "tcp", "--dport", str(PORT), "-j", "TPROXY", "--on-port", str(PORT), "--tproxy-mark", "1"]
    rule(router, socket.AF_INET, "mangle", "PREROUTING", *proxy)
    listener = router.namespace.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
    listener.bind(("0.0.0.0", PORT))
    listener.listen()
    listener.settimeout(SOCKET_SECONDS)
    with serve(listener, echo_server), path.client.connect(path.server.address(socket.AF_INET), PORT, 5.0) as ours:
        assert exchange(ours, MARKER * 100) == MARKER * 100


COPY = "table ip others {{\n chain {0} {{\n type {1} hook {0} priority {2};\n meta mark set ct mark;\n }}\n }}"
COPIES = {
    "nft, before ours": ["output route -160", "prerouting filter -160"],
    "nft, behind ours": ["output route -140", "prerouting filter -140"],
    "iptables, behind ours": [],
}


@pytest.mark.parametrize("copies", COPIES)
def test_connection_marks_that_rules_copy_to_packets(encrypted: Network, copies: str) -> None:
    """With all their bits: such a packet must not pass for one that has been handled, on none of its ways."""
    client, server = encrypted.client, encrypted.server
    second_wire(encrypted, socket.AF_INET)
    policy(client, socket.AF_INET, "fwmark", "1")
    new = ["-p", "tcp", "--syn", "-j", "CONNMARK", "--set-mark", "0x1/0xff"]
    rule(client, socket.AF_INET, "mangle", "OUTPUT", *new)
    for copy in COPIES[copies]:
        client.run(["nft", COPY.format(*copy.split())])
    if not COPIES[copies]:
        for chain in ("OUTPUT", "PREROUTING"):
            rule(client, socket.AF_INET, "mangle", chain, "-j", "CONNMARK", "--restore-mark")
    first, second = client.capture("eth0"), server.capture("eth1")
    with far_dialogue(encrypted, socket.AF_INET) as ours:
        assert exchange(ours, MARKER * 3000) == MARKER * 3000
        same_session(encrypted, ours)
    assert_session(encrypted, data=MARKER * 3000)
    first.stop()
    second.stop()
    for capture in (first, second):
        assert not capture.contains(MARKER)


@OF_IPTABLES
def test_ours_come_first(encrypted: Network) -> None:
    """No harm to connections where the rule before ours only marks or counts, and a reset where it accepts."""
    host = encrypted.client

    def is_first() -> bool:
        lines = host.run(["iptables-save", "-t", "mangle"]).stdout.splitlines()
        return next(line for line in lines if line.startswith("-A OUTPUT ")).endswith("-j TCPCRYPTD_OUT")

    with dialogue(encrypted) as ours:
        assert exchange(ours, MARKER) == MARKER
        same_session(encrypted, ours)
        for harmless in (["-p", "tcp"], ["-j", "CONNMARK", "--restore-mark", "--mask", "0xff"]):
            host.run(["iptables", "-t", "mangle", "-I", "OUTPUT", *harmless])
            wait_until(is_first, "ours comes first again")
        assert exchange(ours, MARKER) == MARKER
        host.run(["iptables", "-t", "mangle", "-I", "OUTPUT", "-j", "ACCEPT"])
        with pytest.raises(ConnectionError):
            ours.recv(1)
    wait_until(is_first, "ours comes first again")
    assert host.daemons[0].stop() == 0
    kept = [line for line in host.rules().splitlines() if "*mangle -A OUTPUT" in line]
    assert len(kept) == 3
    assert not any("TCPCRYPTD" in line for line in kept)
