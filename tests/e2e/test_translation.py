"""What a host's own kernel does between wire and daemon: translated addresses, proxies, bridges, other options.

Where answers do not come with the addresses of the SYN, or options leave no room, a connection is plain, and works.
"""

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    Host,
    Network,
    assert_encrypted,
    assert_session,
    assert_works,
    echo_server,
    exchange,
    same_session,
    serve,
)
from tests.e2e.harness.host import SOCKET_SECONDS
from tests.e2e.harness.traffic import Handler, read_exactly
from tests.e2e.test_firewalls import TOOLS

PORT, OTHER_PORT = 7000, 7001
UNSEEN = "the answer to its SYN did not pass tcpcryptd"
SIGNED = "the connection uses MD5 signatures, TCP-AO or MPTCP"
IPPROTO_MPTCP = 262
TCP_MD5SIG = 14
IPV6_TRANSPARENT = 75
DIVERT = "-p tcp -m socket --transparent -j MARK --set-mark 1"
DATA = MARKER * 3000


def rule(host: Host, family: int, table: str, chain: str, *words: str) -> None:
    host.run([TOOLS[family], "-t", table, "-A", chain, *words])


def reasons(host: Host) -> set[str | None]:
    """Of connections that are plain."""
    return {row["reason"] for row in host.report("--all") if row["state"] == "plain"}


def start(network: Network, protocol: str) -> None:
    for host in (network.client, network.server):
        host.start_daemon("--protocol", protocol)


def talk(network: Network, family: int, address: str, to: int, listens: int) -> None:
    """Over a connection to `to`, which the server sees at the port `listens`."""
    with (
        serve(network.server.listen(listens, family), echo_server),
        network.client.connect(address, to) as ours,
    ):
        assert exchange(ours, DATA) == DATA


@FAMILIES
@BOTH_PROTOCOLS
def test_a_server_that_redirects_a_port(network: Network, protocol: str, family: int) -> None:
    rule(
        network.server,
        family,
        "nat",
        "PREROUTING",
        *f"-p tcp --dport {PORT} -j REDIRECT --to-ports {OTHER_PORT}".split(),
    )
    start(network, protocol)
    talk(network, family, network.server.address(family), PORT, OTHER_PORT)
    assert reasons(network.server) == {UNSEEN}


@pytest.mark.parametrize("speaks", [False, True], ids=["plain", "encrypted"])
@FAMILIES
@BOTH_PROTOCOLS
def test_a_host_that_passes_a_port_on(path: Network, protocol: str, family: int, speaks: bool) -> None:
    """To a container, or a host behind it, with a daemon or without: the connection is theirs."""
    router = path.router
    assert router
    to = path.server.address(family)
    rule(router, family, "nat", "PREROUTING", *f"-p tcp --dport {PORT} -j DNAT --to-destination {to}".split())
    for host in (path.client, router, *([path.server] if speaks else [])):
        host.start_daemon("--protocol", protocol)
    with (
        serve(path.server.listen(PORT, family), echo_server) as port,
        path.client.connect(router.address(family), port) as ours,
    ):
        assert exchange(ours, DATA) == DATA
        assert bool(path.client.sessions()) == speaks
        assert router.sessions() == []


@FAMILIES
@BOTH_PROTOCOLS
def test_a_client_that_translates_the_destination(network: Network, protocol: str, family: int) -> None:
    address = {int(socket.AF_INET): "10.69.0.99", int(socket.AF_INET6): "fd69::99"}[family]
    rule(
        network.client,
        family,
        "nat",
        "OUTPUT",
        *f"-p tcp -d {address} -j DNAT --to-destination {network.server.address(family)}".split(),
    )
    start(network, protocol)
    talk(network, family, address, PORT, PORT)
    assert reasons(network.client) == {UNSEEN}


@FAMILIES
@BOTH_PROTOCOLS
def test_a_client_that_masquerades_its_own(network: Network, protocol: str, family: int) -> None:
    """The address is the one that it has anyway, so that nothing changes."""
    rule(network.client, family, "nat", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE")
    start(network, protocol)
    assert_session(network, data=DATA, family=family)


@FAMILIES
@BOTH_PROTOCOLS
def test_a_client_that_translates_its_own_address(network: Network, protocol: str, family: int) -> None:
    address, length = {int(socket.AF_INET): ("10.69.0.3", 24), int(socket.AF_INET6): ("fd69::3", 64)}[family]
    # Not one that the kernel would choose by itself.
    words = ["nodad", "preferred_lft", "0"] if family == socket.AF_INET6 else []
    network.client.run(["ip", "address", "add", f"{address}/{length}", "dev", "eth0", *words])
    rule(network.client, family, "nat", "POSTROUTING", *f"-p tcp -o eth0 -j SNAT --to-source {address}".split())
    start(network, protocol)
    talk(network, family, network.server.address(family), PORT, PORT)
    assert reasons(network.client) == {UNSEEN}


@FAMILIES
@BOTH_PROTOCOLS
def test_a_server_behind_a_syn_proxy(network: Network, protocol: str, family: int) -> None:
    server = network.server
    server.namespace.sysctl("net.ipv4.tcp_syncookies", 1)
    rule(server, family, "raw", "PREROUTING", *f"-p tcp --dport {PORT} --syn -j CT --notrack".split())
    proxy = "-m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460"
    rule(server, family, "filter", "INPUT", *f"-p tcp --dport {PORT} {proxy}".split())
    start(network, protocol)
    server.namespace.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    talk(network, family, server.address(family), PORT, PORT)
    (reason,) = reasons(network.client)
    assert reason is not None
    assert reason.startswith(("the peer does not speak", "the peer's SYN has no"))


@contextlib.contextmanager
def connected(
    network: Network, protocol: int, prepare: Callable[[socket.socket, str], None]
) -> Iterator[socket.socket]:
    """A connection of two sockets of that protocol, each of which was prepared for the other host's address."""

    def make(host: Host, other: Host) -> socket.socket:
        with host.namespace.entered():
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        made.settimeout(SOCKET_SECONDS)
        prepare(made, other.ipv4)
        return made

    listener, client = make(network.server, network.client), make(network.client, network.server)
    listener.bind(("0.0.0.0", PORT))
    listener.listen()
    with serve(listener, echo_server), client:
        client.connect((network.server.ipv4, PORT))
        yield client


def sign(made: socket.socket, peer: str) -> None:
    """RFC 2385; struct tcp_md5sig."""
    key = b"shared secret"
    address = struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(peer)).ljust(128, b"\0")
    made.setsockopt(
        socket.IPPROTO_TCP, TCP_MD5SIG, address + struct.pack("=BBHi", 0, 0, len(key), 0) + key.ljust(80, b"\0")
    )


@BOTH_PROTOCOLS
@pytest.mark.parametrize(
    ("number", "prepare"),
    [(IPPROTO_MPTCP, lambda _made, _peer: None), (socket.IPPROTO_TCP, sign)],
    ids=["MPTCP", "MD5"],
)
def test_options_that_leave_no_room(
    network: Network, protocol: str, number: int, prepare: Callable[[socket.socket, str], None]
) -> None:
    start(network, protocol)
    with connected(network, number, prepare) as client:
        assert exchange(client, DATA) == DATA
        assert reasons(network.client) == {SIGNED}
        assert reasons(network.server) == {"the peer does not speak tcpcrypt"}


def bridge(host: Host, *interfaces: str) -> None:
    host.run(["ip", "link", "add", "name", "br0", "type", "bridge"])
    for tool in ("iptables", "ip6tables"):
        host.namespace.sysctl(f"net.bridge.bridge-nf-call-{tool}", 1)
    for name in interfaces:
        host.run(["ip", "link", "set", name, "master", "br0"])
    host.run(["ip", "link", "set", "br0", "up"])


@FAMILIES
@BOTH_PROTOCOLS
def test_a_host_whose_address_is_a_bridges(network: Network, protocol: str, family: int) -> None:
    """As with virtual machines; its packets pass the firewall for the bridge (br_netfilter)."""
    server = network.server
    server.run(["ip", "address", "flush", "dev", "eth0"])
    bridge(server, "eth0")
    server.run(["ip", "address", "add", f"{server.ipv4}/24", "dev", "br0"])
    server.run(["ip", "address", "add", f"{server.ipv6}/64", "dev", "br0", "nodad"])
    start(network, protocol)
    assert_works(network, protocol, data=DATA, family=family)


@pytest.mark.parametrize("options", [[], ["--forward", "eth0"]], ids=["", "forward"])
@FAMILIES
@BOTH_PROTOCOLS
def test_a_bridge_with_a_daemon_between_two_hosts(
    path: Network, protocol: str, family: int, options: list[str]
) -> None:
    """What is not its own is left alone: those that speak, and those of others."""
    assert path.router
    bridge(path.router, "eth0", "eth1")
    for host, number in ((path.client, 1), (path.server, 2)):
        host.run(["ip", "address", "add", f"10.70.0.{number}/24", "dev", "eth0"])
        host.run(["ip", "address", "add", f"fd70::{number}/64", "dev", "eth0", "nodad"])
    to = "10.70.0.2" if family == socket.AF_INET else "fd70::2"
    path.router.start_daemon("--protocol", protocol, *options)
    with serve(path.server.listen(PORT, family), echo_server):
        with path.client.connect(to, PORT) as ours:
            assert exchange(ours, DATA) == DATA
        start(path, protocol)
        capture = path.client.capture()
        with path.client.connect(to, PORT) as ours:
            assert exchange(ours, DATA) == DATA
            same_session(path, ours)
        capture.stop()
    assert_encrypted(capture, protocol)
    assert path.router.sessions() == []


def transparent(host: Host, family: int) -> socket.socket:
    made = host.namespace.socket(family)
    level, option = (socket.SOL_IP, socket.IP_TRANSPARENT) if family == socket.AF_INET else (41, IPV6_TRANSPARENT)
    made.setsockopt(level, option, 1)
    made.settimeout(SOCKET_SECONDS)
    return made


def passing_on(proxy: Host, family: int, to: tuple[str, int]) -> Handler:
    """Connects to the server with the client's address, and passes one message on each way."""

    def handle(connection: socket.socket) -> None:
        with transparent(proxy, family) as upstream:
            upstream.bind((connection.getpeername()[0], 0))
            upstream.connect(to)
            upstream.sendall(read_exactly(connection, len(DATA)))
            connection.sendall(read_exactly(upstream, len(DATA)))

    return handle


@FAMILIES
@BOTH_PROTOCOLS
def test_a_proxy_that_is_transparent_both_ways(path: Network, protocol: str, family: int) -> None:
    """On a router: TPROXY takes the client's connection, `socket` the server's answers to the client's address."""
    proxy = path.router
    assert proxy is not None
    version = "-4" if family == socket.AF_INET else "-6"
    default = {int(socket.AF_INET): "0.0.0.0/0", int(socket.AF_INET6): "::/0"}[family]
    proxy.run(["ip", version, "route", "add", "local", default, "dev", "lo", "table", "100"])
    proxy.run(["ip", version, "rule", "add", "fwmark", "1", "lookup", "100"])
    rule(proxy, family, "mangle", "PREROUTING", *DIVERT.split())
    taken = f"-i eth0 -p tcp --dport {PORT} -j TPROXY --on-port {OTHER_PORT} --tproxy-mark 1"
    rule(proxy, family, "mangle", "PREROUTING", *taken.split())
    proxy.start_daemon("--protocol", protocol)
    path.server.start_daemon("--protocol", protocol)
    listener = transparent(proxy, family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", OTHER_PORT))
    listener.listen()
    to = (path.server.address(family), PORT)
    with (
        serve(path.server.listen(PORT, family), echo_server),
        serve(listener, passing_on(proxy, family, to)),
        path.client.connect(*to) as ours,
    ):
        assert exchange(ours, DATA) == DATA
        assert ours.getsockname()[0] in {row["local"]["address"] for row in proxy.report("--all")}
        assert UNSEEN in reasons(proxy)
