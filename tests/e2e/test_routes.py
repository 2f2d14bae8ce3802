"""Hosts with two uplinks: what the daemon makes itself leaves by the one that the connection's own packets take."""

import contextlib
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import MakeNetwork
from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    Host,
    Network,
    dialogue,
    echo_server,
    exchange,
    same_session,
    serve,
    wait_until,
)
from tests.e2e.harness.daemon import entry_point
from tests.e2e.harness.process import run
from tests.e2e.test_firewalls import TOOLS

PORT = 7001
UPLINKS = {"client": ("10.70.0.1", "fd70::1"), "server": ("10.70.0.2", "fd70::2")}
TABLE = "100"
SECONDS = 5.0


@dataclass
class Uplinks:
    """Two hosts with a second wire between them, which only some rule leads to; what takes the first one is lost."""

    network: Network
    family: int

    @property
    def version(self) -> str:
        return "-4" if self.family == socket.AF_INET else "-6"

    def gateway(self, host: Host) -> str:
        other = "server" if host is self.network.client else "client"
        return UPLINKS[other][self.family == socket.AF_INET6]

    def lead(self, host: Host, *words: str) -> None:
        """A default route by the second wire."""
        host.run(["ip", self.version, "route", "add", "default", "via", self.gateway(host), "dev", "eth1", *words])

    def address(self, host: Host) -> str:
        return host.address(self.family)

    def lost(self, port: int) -> int:
        """Packets of a port's connections that have taken the first wire."""
        found = 0
        for host in self.network.hosts():
            listed = host.run([TOOLS[self.family], "-t", "raw", "-nvxL", "PREROUTING"]).stdout
            found += sum(int(line.split()[0]) for line in listed.splitlines() if f"pt:{port}" in line)
        return found

    @contextlib.contextmanager
    def rule(self, *selector: str) -> Iterator[None]:
        """A rule of policy routing on both hosts; SOURCE and BY_PORT stand for what each has."""
        try:
            self._rule("add", selector)
            yield
        finally:
            self._rule("del", selector)

    def _rule(self, action: str, selector: tuple[str, ...]) -> None:
        for host in self.network.hosts():
            port = "dport" if host is self.network.client else "sport"
            words = {"SOURCE": ["from", self.address(host)], "BY_PORT": [port, str(PORT)]}
            expanded = [word for each in selector for word in words.get(each, [each])]
            host.run(["ip", self.version, "rule", action, *expanded, "lookup", TABLE])

    def converse(self, port: int, *options: tuple[int, int, int | bytes]) -> None:
        """An encrypted connection whose sockets have these options."""
        for host in self.network.hosts():
            for end in ("--sport", "--dport"):
                # As an uplink drops what has another one's address.
                rule = ["-A", "PREROUTING", "-i", "eth0", "-p", "tcp", end, str(port), "-j", "DROP"]
                host.run([TOOLS[self.family], "-t", "raw", *rule])
        listener = self.network.server.namespace.socket(self.family)
        client = self.network.client.namespace.socket(self.family)
        for level, option, value in options:
            for each in (listener, client):
                each.setsockopt(level, option, value)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address(self.network.server), port))
        listener.listen()
        for each in (listener, client):
            each.settimeout(SECONDS)
        # With IPv6, a SYN whose socket is not bound is routed before its source address is chosen.
        client.bind((self.address(self.network.client), 0))
        with serve(listener, echo_server), client:
            client.connect((self.address(self.network.server), port))
            assert exchange(client, MARKER * 5000) == MARKER * 5000
            same_session(self.network, client)
            assert self.lost(port) == 0


@pytest.fixture
def uplinks(make_pair: MakeNetwork, family: int) -> Uplinks:
    network = make_pair(1500)
    found = Uplinks(network, family)
    ends = ["eth1", "netns", network.client.namespace.name, "type", "veth", "peer", "name", "eth1"]
    run(["ip", "link", "add", *ends, "netns", network.server.namespace.name])
    for host, label in ((network.client, "client"), (network.server, "server")):
        for address, length in zip(UPLINKS[label], ("/24", "/64"), strict=True):
            host.run(["ip", "address", "add", address + length, "dev", "eth1", "nodad"])
        host.run(["ip", "link", "set", "eth1", "up"])
        host.run(
            ["ip", found.version, "route", "add", "default", "via", found.gateway(host), "dev", "eth1", "table", TABLE]
        )
    return found


SO_MARK = (socket.SOL_SOCKET, socket.SO_MARK, 5)
TO_DEVICE = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth1")


OPTIONS = [["--protocol", "crypt"], ["--protocol", "eno"], ["--whole-packets"]]


@FAMILIES
@pytest.mark.parametrize("options", OPTIONS, ids=lambda each: each[-1])
def test_every_packet_takes_the_connections_way(uplinks: Uplinks, options: list[str]) -> None:
    """By its source address, a mark (of all 32 bits, as most rules ask for), its port, or its device."""
    for host in uplinks.network.hosts():
        host.start_daemon(*options)
    with uplinks.rule("SOURCE"):
        uplinks.converse(PORT + 1)
    with uplinks.rule("fwmark", "5"):
        uplinks.converse(PORT + 2, SO_MARK)
    with uplinks.rule("ipproto", "tcp", "BY_PORT"):
        uplinks.converse(PORT)
    for host in uplinks.network.hosts():
        uplinks.lead(host, "metric", "2000")
        # The nearer one; it leads to the first wire.
        host.run(["ip", uplinks.version, "route", "replace", "default", "dev", "eth0", "metric", "1"])
    uplinks.converse(PORT + 3, TO_DEVICE)
    for host in uplinks.network.hosts():
        assert host.counters().get("injection_errors", 0) == 0
        assert host.counters()["segment_errors"] == 0


@BOTH_PROTOCOLS
def test_link_local_addresses(network: Network, protocol: str) -> None:
    """Of two interfaces with the same network only the one that was named leads there, for resets as well."""
    for host, address in ((network.client, "fe80::69:1"), (network.server, "fe80::69:2")):
        host.run(["ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad"])
        host.run(["ip", "link", "add", "aside", "type", "veth", "peer", "name", "nowhere"])
        for name in ("aside", "nowhere"):
            host.run(["ip", "link", "set", name, "up"])
    daemons = [host.start_daemon("--protocol", protocol) for host in network.hosts()]
    with serve(network.server.listen(0, socket.AF_INET6), echo_server) as port:
        client = network.client.namespace.socket(socket.AF_INET6)
        client.settimeout(SECONDS)
        with network.client.namespace.entered():
            client.connect(("fe80::69:2", port, 0, socket.if_nametoindex("eth0")))
        with client:
            assert exchange(client, MARKER * 5000) == MARKER * 5000
            same_session(network, client)
            assert network.client.counters().get("injection_errors", 0) == 0
            assert network.server.counters().get("injection_errors", 0) == 0
            daemons[0].stop()
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def filter_by_owner(host: Host) -> None:
    for rule in (["-A", "OUTPUT", "-m", "owner", "--uid-owner", "0", "-j", "ACCEPT"], ["-P", "OUTPUT", "DROP"]):
        host.run(["iptables", *rule])


@BOTH_PROTOCOLS
@pytest.mark.parametrize("where", ["client", "server"])
def test_a_filter_by_owner(network: Network, protocol: str, where: str) -> None:
    """It lets out what the application's socket sends, and nothing of the daemon's: no connection may hang."""
    host: Host = getattr(network, where)
    filter_by_owner(host)
    daemon = host.start_daemon("--protocol", protocol, "--workers", "2")
    other = network.server if where == "client" else network.client
    other.start_daemon("--protocol", protocol)
    with serve(network.server.listen(0), echo_server) as port:
        # Plain, where nothing has been sealed; else it ends at once.
        with network.client.connect(network.server.ipv4, port, SECONDS) as client, suppress(ConnectionResetError):
            assert exchange(client, MARKER) == MARKER
        with network.client.connect(network.server.ipv4, port, SECONDS) as client:
            assert exchange(client, MARKER * 1000) == MARKER * 1000
    wait_until(lambda: "EPERM: a firewall rule" in daemon.log(), "it is said")
    assert any("drops packets that the daemon sends" in (row["reason"] or "") for row in host.report("--all"))
    wait_until(lambda: host.counters()["undeliverable"] == 1, "it is counted")
    doctor = host.run([*entry_point("tcpcryptd"), "doctor", "--no-self-test"], check=False)
    assert "-A OUTPUT -m owner --uid-owner 0 -j ACCEPT" in doctor.stdout


def test_a_filter_by_owner_that_comes_later(network: Network) -> None:
    """What the daemon cuts is not the application's: an open connection ends soon, and the next one is plain."""
    client_host = network.client
    daemon = client_host.start_daemon("--whole-packets", "--workers", "2")
    network.server.start_daemon()
    with serve(network.server.listen(0), echo_server) as port:
        with client_host.connect(network.server.ipv4, port, SECONDS) as client:
            assert exchange(client, MARKER * 1000) == MARKER * 1000
            same_session(network, client)
            filter_by_owner(client_host)
            with pytest.raises(ConnectionResetError):
                exchange(client, MARKER * 1000)
        with client_host.connect(network.server.ipv4, port, SECONDS) as client:
            assert exchange(client, MARKER * 1000) == MARKER * 1000
    assert "a segment could not be sent (EPERM: a firewall rule" in daemon.log()
    assert any("drops packets that the daemon sends" in (row["reason"] or "") for row in client_host.report("--all"))
    assert client_host.counters()["undeliverable"] == 1


def test_a_firewall_that_is_loaded_anew(network: Network) -> None:
    """Nothing gets out for a moment: as with plain TCP, what was lost is sent again."""
    for host in network.hosts():
        host.start_daemon("--whole-packets")
    with dialogue(network) as client:
        assert exchange(client, MARKER * 1000) == MARKER * 1000
        session = same_session(network, client)
        network.client.namespace.spawn(["sh", "-c", "iptables -P OUTPUT DROP; sleep 0.7; iptables -P OUTPUT ACCEPT"])
        wait_until(lambda: "DROP" in network.client.run(["iptables", "-S", "OUTPUT"]).stdout, "the policy is DROP")
        assert exchange(client, MARKER * 1000) == MARKER * 1000
        assert same_session(network, client) == session
    assert network.client.counters()["segment_errors"] > 0
