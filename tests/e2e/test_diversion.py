"""What the firewall rules divert, and how injected packets pass them. Without a daemon, what is diverted is lost."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tcpcryptd.core.verdict import ConnectionClass, Direction
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets.injector import Injector
from tcpcryptd.wire.segment import ACK, PSH, make
from tests.e2e.harness import (
    FAMILIES,
    MARKER,
    Host,
    Network,
    assert_encrypted,
    assert_session,
    dialogue,
    divert_as,
    diverted_inwards,
    echo_server,
    exchange,
    read_exactly,
    same_session,
    serve,
    wait_until,
)
from tests.e2e.harness.daemon import entry_point

MARKS = MarkScheme()
INJECTED = b"injected"
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
RECEIVE_QUEUE, SEND_QUEUE = 1, 2
REPAIR_OFF_SILENTLY = -1


def next_segment(client: socket.socket) -> bytes:
    """The segment with which the client's kernel would send INJECTED, on a connection without timestamps."""
    numbers = []
    client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    for queue in (SEND_QUEUE, RECEIVE_QUEUE):
        client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        numbers.append(client.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) & 0xFFFFFFFF)
    client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_SILENTLY)
    ends = [client.getsockname()[:2], client.getpeername()[:2]]
    key = b"".join(socket.inet_pton(client.family, address) for address, _ in ends)
    key += b"".join(port.to_bytes(2, "big") for _, port in ends)
    return make(key, sequence=numbers[0], acknowledgment=numbers[1], flags=ACK | PSH, window=500, payload=INJECTED)


@contextmanager
def injector(host: Host) -> Iterator[Injector]:
    with host.namespace.entered():
        made = Injector(MARKS)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def strict(network: Network) -> Network:
    """Hosts that drop packets from the wrong interface."""
    for host in network.hosts():
        for interface in ("all", "lo", "eth0"):
            host.namespace.sysctl(f"net.ipv4.conf.{interface}.rp_filter", 1)
        host.namespace.sysctl("net.ipv4.tcp_timestamps", 0)
    return network


@FAMILIES
def test_injected_towards_the_local_kernel_arrives_undiverted(strict: Network, family: int) -> None:
    host = strict.server
    listener = host.listen(0, family)
    with listener, strict.client.connect(host.address(family), listener.getsockname()[1]) as client:
        server, _ = listener.accept()
        with server, injector(host) as raw:
            divert_as(host, ConnectionClass.ENCRYPTED)
            raw.inject(Direction.IN, next_segment(client))
            server.settimeout(10)
            assert server.recv(100) == INJECTED
            assert diverted_inwards(host, family) == 0
            assert raw.counters() == {"injected": 1, "injection_errors": 0}
            # What comes by the wire meanwhile is diverted, and there is no daemon.
            client.sendall(b"from the wire")
            wait_until(lambda: diverted_inwards(host, family) > 0, "the client's segment is diverted")
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.recv(100)


@FAMILIES
def test_injected_towards_the_wire_is_diverted_where_it_comes_in(host: Host, family: int) -> None:
    host.namespace.sysctl("net.ipv4.tcp_timestamps", 0)
    listener = host.listen(0, family)
    with listener, host.connect(host.address(family), listener.getsockname()[1]) as client:
        server, _ = listener.accept()
        with server, injector(host) as raw:
            divert_as(host, ConnectionClass.ENCRYPTED)
            segment = next_segment(client)
            raw.inject(Direction.OUT, segment)
            wait_until(lambda: diverted_inwards(host, family) == 1, "loopback diverts it")
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.recv(100)
            raw.inject(Direction.IN, segment)
            assert server.recv(100) == INJECTED
            assert diverted_inwards(host, family) == 1


@FAMILIES
def test_cleaning_up_after_a_death_ends_encrypted_connections_alone(encrypted: Network, family: int) -> None:
    host = encrypted.client
    with (
        dialogue(encrypted, family=family) as client,
        dialogue(encrypted, family=family, port=443) as plain,
    ):
        assert exchange(client, MARKER) == MARKER
        same_session(encrypted, client)
        assert exchange(plain, b"plain") == b"plain"
        capture = host.capture()
        host.daemons[0].kill()
        client.sendall(MARKER)
        host.run([*entry_point("tcpcryptd"), "--cleanup"])
        with pytest.raises(ConnectionError):
            client.sendall(MARKER)
        assert exchange(plain, b"plain") == b"plain"
        capture.stop()
    assert capture.contains(b"plain")
    assert not capture.contains(MARKER)


REUSED_PORT = 50001


def forge(sender: Host, victim: Host, family: int, ports: tuple[int, int]) -> None:
    """Sends a segment between two ports (source, destination) of a connection that does not exist yet."""
    for host in (sender, victim):
        # Connection tracking forgets a connection that is answered with nothing but an RST: it must not see it.
        tool = "iptables" if family == socket.AF_INET else "ip6tables"
        host.run([tool, "-t", "raw", "-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP"])
    addresses = [socket.inet_pton(family, host.address(family)) for host in (sender, victim)]
    key = b"".join(addresses + [number.to_bytes(2, "big") for number in ports])
    before = victim.queued_packets()
    with injector(sender) as raw:
        raw.inject(Direction.OUT, make(key, sequence=1000, acknowledgment=2000, flags=ACK, window=500))
    wait_until(lambda: victim.queued_packets() > before, "the daemon has the forged segment")


def assert_reused_port_is_encrypted(network: Network, family: int) -> None:
    capture = network.client.capture()
    with (
        serve(network.server.listen(7000, family), echo_server),
        network.client.namespace.socket(family) as client,
    ):
        client.settimeout(30)
        client.bind((network.client.address(family), REUSED_PORT))
        client.connect((network.server.address(family), 7000))
        assert exchange(client, MARKER * 1000) == MARKER * 1000
        same_session(network, client)
    assert_encrypted(capture.stop())


@FAMILIES
@pytest.mark.parametrize("options", [[], ["--port", "7000"]], ids=["all ports", "one port"])
def test_a_forged_segment_does_not_decide_about_a_later_connection(
    network: Network, family: int, options: list[str]
) -> None:
    for host in network.hosts():
        host.start_daemon(*options)
    forge(network.server, network.client, family, (7000, REUSED_PORT))
    forge(network.client, network.server, family, (REUSED_PORT, 7000))
    assert_reused_port_is_encrypted(network, family)


@FAMILIES
def test_a_syn_does_not_skip_the_daemon_for_a_mark(encrypted: Network, family: int) -> None:
    forge(encrypted.client, encrypted.server, family, (REUSED_PORT, 7000))
    version = "ipv4" if family == socket.AF_INET else "ipv6"
    mark = MARKS.match(MARKS.of_class(ConnectionClass.PLAIN))
    for host in encrypted.hosts():
        chosen = ["-f", version, "-p", "tcp", "--orig-port-src", str(REUSED_PORT)]
        host.run(["conntrack", "-U", *chosen, "--mark", mark])
        assert host.run(["conntrack", "-L", *chosen, "--mark", mark]).stdout
    assert_reused_port_is_encrypted(encrypted, family)


def test_port_is_the_one_that_was_connected_to(encrypted: Network) -> None:
    listener = encrypted.server.listen(7000)
    with serve(listener, echo_server), encrypted.client.namespace.socket(socket.AF_INET) as client:
        client.settimeout(30)
        # A port that would be excluded were it the server's.
        client.bind((encrypted.client.ipv4, 8443))
        client.connect((encrypted.server.ipv4, 7000))
        assert exchange(client, MARKER) == MARKER
        same_session(encrypted, client)


@pytest.mark.parametrize(
    ("options", "selected"),
    [
        (["--interface", "eth0"], True),
        (["--interface", "lo"], False),
        (["--address", "10.69.0.2", "--address", "192.0.2.0/24"], True),
        (["--address", "10.69.0.3"], False),
        (["--interface", "eth0", "--address", "10.69.0.0/24", "--port", "7000"], True),
        (["--interface", "eth0", "--address", "10.69.0.0/24", "--port", "7001"], False),
        (["--all-ports", "--exclude-port", "7000"], False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_selection(network: Network, options: list[str], selected: bool) -> None:
    network.client.start_daemon(*options)
    network.server.start_daemon()
    with dialogue(network, port=7000) as client:
        assert exchange(client, MARKER) == MARKER
        if selected:
            same_session(network, client)
        else:
            assert network.client.sessions() == []
            assert network.client.queued_packets() == 0


def test_forwarded_connections_are_not_the_routers(path: Network) -> None:
    assert path.router
    path.router.start_daemon()
    with dialogue(path) as client:
        assert exchange(client, MARKER) == MARKER
        assert path.router.queued_packets() == 0
    path.client.start_daemon()
    path.server.start_daemon()
    assert_session(path)
    assert path.router.queued_packets() == 0


def test_untracked_connections_are_left_alone(encrypted: Network) -> None:
    for chain in ("OUTPUT", "PREROUTING"):
        encrypted.client.run(["iptables", "-t", "raw", "-A", chain, "-p", "tcp", "-j", "CT", "--notrack"])
    with dialogue(encrypted) as client:
        client.sendall(MARKER)
        assert read_exactly(client, len(MARKER)) == MARKER
        assert encrypted.client.sessions() == []
        assert encrypted.client.queued_packets() == 0
