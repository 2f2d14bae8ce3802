"""What else stands on a host's network, on kernels that have it: the connection is encrypted through all of it."""

import contextlib
import errno
import random
import select
import socket
import struct
import sys

import pytest

from bench.peers import wireguard
from bench.route import Unavailable
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.flow_key import flow_key
from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio.kernel.raw_socket import open_raw
from tcpcryptd.netio.kernel.routing_tables import KernelRoutes
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.wire.segment import ACK, make
from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    Host,
    Network,
    assert_encrypted,
    assert_session,
    assert_works,
    dialogue,
    echo_server,
    exchange,
    read_exactly,
    same_session,
    serve,
    wait_until,
)
from tests.e2e.harness.process import PATIENCE
from tests.e2e.test_icmp import VARIANTS

MISSING = ("not supported", "No such file or directory", "Unknown device type", "kind is unknown", "not found")
SIZE = 200_000
PORT = 7000
SO_ZEROCOPY, MSG_ZEROCOPY = 60, 0x4000000
TCP_ULP, SOL_TLS, TLS_TX, TLS_RX = 31, 282, 1, 2
CLIENT, SERVER = "10.70.0.1", "10.70.0.2"


def attempt(host: Host, command: str, feature: str, given: str | None = None) -> None:
    """Runs a command; skips the test where the kernel lacks the feature."""
    words = command.split() if given is None else ["sh", "-c", f"{command} <<'X'\n{given}\nX"]
    done = host.run(words, check=False)
    if any(each in done.stdout + done.stderr for each in MISSING):
        pytest.skip(f"the kernel has no {feature}")
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


def start(network: Network, protocol: str = "crypt") -> None:
    for host in network.hosts():
        host.start_daemon("--protocol", protocol)


LINKS = {
    "VLAN": "ip link add name upper link eth0 type vlan id 5",
    "macvlan": "ip link add name upper link eth0 type macvlan mode bridge",
    "ipvlan": "ip link add name upper link eth0 type ipvlan mode l2",
}


@pytest.mark.parametrize(
    ("kind", "protocol"), [("VLAN", "crypt"), ("macvlan", "eno"), ("ipvlan", "crypt"), ("bond", "eno")]
)
def test_links_above_others(network: Network, kind: str, protocol: str) -> None:
    for host, address in zip(network.hosts(), (CLIENT, SERVER), strict=True):
        if kind == "bond":
            attempt(host, "ip link add name upper type bond mode active-backup", kind)
            for command in ("ip link set eth0 down", "ip link set eth0 master upper", "ip link set eth0 up"):
                host.run(command.split())
        else:
            attempt(host, LINKS[kind], kind)
        host.run(["ip", "link", "set", "upper", "up"])
        host.run(["ip", "address", "add", f"{address}/24", "dev", "upper"])
    start(network, protocol)
    data = random.Random(1).randbytes(SIZE)
    capture = network.server.capture("upper")
    with serve(network.server.listen(0), echo_server) as port, network.client.connect(SERVER, port) as client:
        assert exchange(client, MARKER + data) == MARKER + data
        same_session(network, client)
    assert_encrypted(capture.stop(), protocol)


@FAMILIES
@BOTH_PROTOCOLS
def test_through_wireguard_and_beside_it(network: Network, family: int, protocol: str) -> None:
    try:
        wireguard.start(network)
    except Unavailable as reason:
        pytest.skip(str(reason))
    for host, number in zip(network.hosts(), (1, 2), strict=True):
        host.run(["ip", "address", "add", f"fd70::{number}/64", "dev", wireguard.DEVICE])
    if family == socket.AF_INET6:
        for host, key in zip(network.hosts(), ("fd70::2", "fd70::1"), strict=True):
            peer = host.run(["wg", "show", wireguard.DEVICE, "peers"]).stdout.strip()
            host.run(["wg", "set", wireguard.DEVICE, "peer", peer, "allowed-ips", f"{key}/128"])
    start(network, protocol)
    data = random.Random(1).randbytes(SIZE)
    inside = wireguard.SERVER_ADDRESS if family == socket.AF_INET else "fd70::2"
    for interface, address in ((wireguard.DEVICE, inside), ("eth0", network.server.address(family))):
        capture = network.server.capture(interface)
        with (
            serve(network.server.listen(0, family=family), echo_server) as port,
            network.client.connect(address, port) as client,
        ):
            assert exchange(client, MARKER + data) == MARKER + data
            same_session(network, client)
        assert_encrypted(capture.stop(), protocol)


def in_vrf(host: Host) -> None:
    attempt(host, "ip link add name red type vrf table 10", "VRF")
    host.run(["ip", "link", "set", "red", "up"])
    # An interface that enters a VRF goes down and up again.
    host.namespace.sysctl("net.ipv6.conf.eth0.keep_addr_on_down", 1)
    host.run(["ip", "link", "set", "eth0", "master", "red"])


def bound(host: Host, family: int, is_in_vrf: bool) -> socket.socket:
    made = host.namespace.socket(family)
    if is_in_vrf:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"red")
    made.settimeout(30 * PATIENCE)
    return made


@pytest.mark.parametrize(
    ("protocol", "family"), [("crypt", socket.AF_INET), ("eno", socket.AF_INET6)], ids=["crypt-ipv4", "eno-ipv6"]
)
@pytest.mark.parametrize(
    ("ends", "accepts"),
    [
        (("client",), False),
        (("server",), False),
        (("server",), True),
        (("client", "server"), False),
        (("client", "server"), True),
    ],
    ids=["client", "server", "server-tcp_l3mdev_accept", "both", "both-tcp_l3mdev_accept"],
)
def test_a_vrf(network: Network, ends: tuple[str, ...], accepts: bool, protocol: str, family: int) -> None:
    """With `accepts`, servers of the VRF are not bound to it."""
    for name in ends:
        in_vrf(getattr(network, name))
    address = network.server.address(family)
    network.server.namespace.sysctl("net.ipv4.tcp_l3mdev_accept", int(accepts))
    network.client.start_daemon("--protocol", protocol, "--require", address)
    network.server.start_daemon("--protocol", protocol)
    is_bound = "server" in ends and not accepts
    with (
        bound(network.server, family, is_bound) as listener,
        bound(network.client, family, "client" in ends) as client,
    ):
        listener.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", PORT))
        listener.listen()
        with serve(listener, echo_server):
            client.connect((address, PORT))
            assert exchange(client, MARKER) == MARKER
            same_session(network, client)


def use_transport_mode(network: Network, family: int) -> None:
    """IPsec between the two, for TCP."""
    key = "0x" + "11" * 20
    hosts = (network.client, network.server)
    for host, other in (hosts, hosts[::-1]):
        for source, target, direction in ((host, other, "out"), (other, host, "in")):
            ends = f"src {source.address(family)} dst {target.address(family)}"
            spi = 1 if source is network.client else 2
            attempt(
                host,
                f"ip xfrm state add {ends} proto esp spi {spi} reqid 1 mode transport aead rfc4106(gcm(aes)) {key} 128",
                "ESP",
            )
            attempt(
                host,
                f"ip xfrm policy add {ends} proto tcp dir {direction} tmpl proto esp reqid 1 mode transport",
                "ESP",
            )


@VARIANTS
@FAMILIES
def test_an_ipsec_policy_for_tcp(network: Network, protocol: str, options: list[str], family: int) -> None:
    """Nothing of the connection leaves without ESP, and it is encrypted."""
    use_transport_mode(network, family)
    for host in network.hosts():
        host.start_daemon("--protocol", protocol, *options)
    capture = network.server.capture()
    data = random.Random(3).randbytes(SIZE)
    with dialogue(network, family=family) as client:
        client.settimeout(20 * PATIENCE)
        assert exchange(client, data) == data
        same_session(network, client)
    capture.stop()
    assert list(capture.segments()) == []


@pytest.mark.parametrize("names", [True, False], ids=["names", "says nothing"])
@FAMILIES
def test_a_policy_of_ipsec_holds_for_what_the_daemon_sends(network: Network, family: int, names: bool) -> None:
    """Also where the kernel does not let a raw socket name the protocol: our rules have it look for the way again."""
    client, server = network.client, network.server
    client.start_daemon()
    ends = Endpoint(client.address(family), PORT), Endpoint(server.address(family), PORT)
    packet = make(flow_key(*ends), sequence=1, acknowledgment=1, flags=ACK, window=1)
    with client.namespace.entered():
        routes = KernelRoutes()
        raw = open_raw(4 if family == socket.AF_INET else 6, MarkScheme().of_injection(Direction.OUT), 1 << 16, routes)
    with contextlib.closing(raw), contextlib.closing(routes):
        raw._names_protocol = names
        raw.send(packet, 0)
        selector = f"src {client.address(family)} dst {server.address(family)} proto tcp dir out"
        attempt(client, f"ip xfrm policy add {selector} action block", "IPsec")
        with pytest.raises(PermissionError):
            raw.send(packet, 0)
        client.run(f"ip xfrm policy delete {selector}".split())
        raw.send(packet, 0)


QUEUE_ALL = """
import sys
from netfilterqueue import NetfilterQueue
def handle(packet):
    data = packet.get_payload()
    print(data.hex(), flush=True)
    packet.accept()
queue = NetfilterQueue()
queue.bind(9, handle)
queue.run()
"""
OTHERS = """table inet others {
    chain out { type filter hook output priority filter
        meta l4proto tcp queue num 9
    }
    chain in { type filter hook input priority filter
        meta l4proto tcp queue num 9
    }
}"""


@BOTH_PROTOCOLS
def test_a_queue_of_others(network: Network, protocol: str) -> None:
    """One host's nft hands TCP to a program (`queue`), which sees what the kernel sends as the wire has it."""
    log = network.client.directory / "queued"
    with log.open("wb") as output:
        network.client.namespace.spawn([sys.executable, "-c", QUEUE_ALL], stdout=output.fileno())
    counters = ["cat", "/proc/net/netfilter/nfnetlink_queue"]
    wait_until(
        lambda: network.client.run(counters, check=False).stdout.split()[:1] == ["9"], "the program has its queue"
    )
    attempt(network.client, "nft -f /dev/stdin", "nft queue", OTHERS)
    start(network, protocol)
    assert_session(network)
    # What comes in has been deciphered there.
    outgoing = [
        line for line in log.read_text().splitlines() if line[24:32] == socket.inet_aton(network.client.ipv4).hex()
    ]
    assert outgoing
    assert not any(MARKER.hex() in line for line in outgoing)


@BOTH_PROTOCOLS
def test_netem(network: Network, protocol: str) -> None:
    for host in network.hosts():
        attempt(host, "tc qdisc add dev eth0 root netem delay 20ms 5ms loss 1% duplicate 1%", "netem")
    start(network, protocol)
    data = random.Random(2).randbytes(SIZE)
    assert_session(network, data=data)


@BOTH_PROTOCOLS
def test_syn_cookies(network: Network, protocol: str) -> None:
    """The server's kernel keeps nothing of the SYN."""
    network.server.namespace.sysctl("net.ipv4.tcp_syncookies", 2)
    start(network, protocol)
    assert_works(network, protocol, data=MARKER * 2000)
    sent = network.server.run(["nstat", "-asz", "TcpExtSyncookiesSent"]).stdout.split()
    assert int(sent[sent.index("TcpExtSyncookiesSent") + 1]) > 0


def use_kernel_tls(made: socket.socket, direction: int) -> None:
    """Records of TLS 1.2, AES-128-GCM, in the kernel (struct tls12_crypto_info_aes_gcm_128)."""
    made.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    made.setsockopt(
        SOL_TLS, direction, struct.pack("=HH8s16s4s8s", 0x0303, 51, b"i" * 8, b"k" * 16, b"s" * 4, bytes(8))
    )


@BOTH_PROTOCOLS
def test_ktls(network: Network, protocol: str) -> None:
    """The kernel seals what the application sends, and we the segments of that."""
    with (
        network.client.namespace.socket(socket.AF_INET) as probe,
        pytest.raises(OSError, match=r"No such file|not connected") as raised,
    ):
        # Not connected, if nothing else.
        probe.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    if raised.value.errno == errno.ENOENT:
        pytest.skip("the kernel has no kTLS")
    start(network, protocol)
    data = random.Random(5).randbytes(SIZE)
    got: list[bytes] = []

    def take(connection: socket.socket) -> None:
        use_kernel_tls(connection, TLS_RX)
        connection.sendall(b".")
        got.append(read_exactly(connection, SIZE))

    with dialogue(network, take) as client:
        use_kernel_tls(client, TLS_TX)
        assert client.recv(1) == b"."
        same_session(network, client)
        client.sendall(data)
        wait_until(lambda: got, "the data has come", 30.0)
    assert got == [data]


@BOTH_PROTOCOLS
def test_zero_copy_sends(network: Network, protocol: str) -> None:
    """The kernel must not tell that the memory is free while what was sent from it may still be read."""
    start(network, protocol)
    data = random.Random(1).randbytes(SIZE)
    with dialogue(network) as client:
        client.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        sent = calls = 0
        while sent < SIZE:
            sent += client.send(memoryview(data)[sent:], MSG_ZEROCOPY)
            calls += 1
        assert read_exactly(client, SIZE) == data
        same_session(network, client)
        completed = 0
        failures = select.poll()
        failures.register(client, select.POLLERR)
        while completed < calls:
            wait_until(lambda: failures.poll(0), "a completion")
            _, messages, _, _ = client.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            ((_, _, error),) = messages
            first, last = struct.unpack("=II", error[8:16])
            completed += last - first + 1
        assert completed == calls
