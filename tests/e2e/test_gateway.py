"""A router that encrypts on behalf of the hosts behind it: the client is inside, the server outside."""

import hashlib
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    Capture,
    Host,
    Network,
    Session,
    dialogue,
    echo_server,
    exchange,
    read_exactly,
    serve,
    wait_until,
)
from tests.e2e.harness.daemon import entry_point

SIZE = 3_000_000
PATIENT_SECONDS = 120.0
INSIDE, OUTSIDE = "eth0", "eth1"


def router_of(network: Network) -> Host:
    assert network.router is not None
    return network.router


def masquerade(network: Network) -> None:
    """Also takes away the outside host's way to the inside: what is not translated does not arrive."""
    for tool in ("iptables", "ip6tables"):
        router_of(network).run([tool, "-t", "nat", "-A", "POSTROUTING", "-o", OUTSIDE, "-j", "MASQUERADE"])
    network.server.run(["ip", "route", "delete", "default"])
    network.server.run(["ip", "-6", "route", "delete", "default"])


def start(network: Network, *options: str, translated: bool = False) -> None:
    """The daemons of router and server; the router forwards nothing that tracking calls invalid."""
    router = router_of(network)
    if translated:
        masquerade(network)
    for tool in ("iptables", "ip6tables"):
        router.run([tool, "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"])
    network.server.start_daemon()
    router.start_daemon("--forward", INSIDE, *options)


@contextmanager
def both_wires(network: Network) -> Iterator[tuple[Capture, Capture]]:
    inside, outside = network.client.capture(), network.server.capture()
    yield inside, outside
    for each in (inside, outside):
        each.stop()


def the_session(network: Network) -> Session:
    """The router's only session, when the outside host has one with the same ID."""
    router, server = router_of(network), network.server
    wait_until(lambda: bool(router.sessions() and server.sessions()), "both have a session")
    (ours,), (theirs,) = router.sessions(), server.sessions()
    assert ours.session_id == theirs.session_id
    return ours


@pytest.mark.parametrize(
    ("family", "translated", "protocol"),
    [
        (socket.AF_INET, True, "crypt"),
        (socket.AF_INET, True, "eno"),
        (socket.AF_INET, False, "crypt"),
        (socket.AF_INET6, True, "crypt"),
        (socket.AF_INET6, True, "eno"),
        (socket.AF_INET6, False, "eno"),
    ],
)
def test_an_inside_host_opens(path: Network, family: int, translated: bool, protocol: str) -> None:
    start(path, "--protocol", protocol, translated=translated)
    data = random.Random(family).randbytes(SIZE)
    with both_wires(path) as (inside, outside), dialogue(path, family=family) as client:
        assert exchange(client, MARKER * 100) == MARKER * 100
        assert exchange(client, data) == data
        session = the_session(path)
        assert session.local == client.getsockname()[:2]
        assert session.remote == client.getpeername()[:2]
    assert inside.contains(MARKER)
    assert not outside.contains(MARKER)
    assert outside.size() > 0


@pytest.mark.parametrize(("family", "protocol"), [(socket.AF_INET, "crypt"), (socket.AF_INET6, "eno")])
def test_an_outside_host_opens(path: Network, family: int, protocol: str) -> None:
    router, server = router_of(path), path.server
    start(path, translated=True)
    server.daemons[-1].stop()
    server.start_daemon("--protocol", protocol)
    address = path.client.address(family)
    tool, target = ("iptables", address) if family == socket.AF_INET else ("ip6tables", f"[{address}]")
    rule = f"-t nat -A PREROUTING -i {OUTSIDE} -p tcp --dport 7000 -j DNAT --to {target}:7001"
    router.run([tool, *rule.split()])
    public = "10.69.2.254" if family == socket.AF_INET else "fd69:2::fe"
    with (
        both_wires(path) as (inside, outside),
        serve(path.client.listen(7001, family), echo_server),
        server.connect(public, 7000) as outsider,
    ):
        assert exchange(outsider, MARKER * 5000) == MARKER * 5000
        session = the_session(path)
        assert session.local == (address, 7001)
        assert session.remote == outsider.getsockname()[:2]
    assert inside.contains(MARKER)
    assert not outside.contains(MARKER)


@FAMILIES
def test_a_peer_without_daemon_is_plain(path: Network, family: int) -> None:
    masquerade(path)
    router = router_of(path)
    router.start_daemon("--forward", INSIDE)
    with both_wires(path) as (_, outside), dialogue(path, family=family) as client:
        assert exchange(client, MARKER) == MARKER
        queued = router.queued_packets()
        assert exchange(client, MARKER) == MARKER
        assert router.queued_packets() == queued
        assert router.sessions() == []
    assert outside.contains(MARKER)


@BOTH_PROTOCOLS
def test_a_death_leaks_nothing(path: Network, protocol: str) -> None:
    start(path, "--protocol", protocol, translated=True)
    router = router_of(path)
    speaks = threading.Event()

    def answer_and_speak(connection: socket.socket) -> None:
        connection.sendall(read_exactly(connection, len(b"before")))
        speaks.wait(PATIENT_SECONDS)
        connection.sendall(b"after")
        # It closes nothing by itself, however long the daemons take.
        connection.settimeout(None)
        connection.recv(1)

    with dialogue(path, answer_and_speak) as client, counting(router, client) as come:
        assert exchange(client, b"before") == b"before"
        the_session(path)
        outside = path.server.capture()
        router.daemons[-1].kill()
        before = come()
        client.sendall(MARKER)
        with dialogue(path) as other:
            assert exchange(other, b"a new one is plain") == b"a new one is plain"
        refused = router.run([*entry_point("tcpcryptd"), "--cleanup"], check=False)
        assert refused.returncode == 1
        assert "hosts behind" in refused.stderr
        wait_until(lambda: come() > before, "the segment is at the router")
        # Started without the option, it still forwards nothing of that connection, not even when it has stopped. Before
        # the rules are replaced it sees segments, also from outside, where they are repeated.
        speaks.set()
        daemon = router.start_daemon()
        daemon.stop()
        assert "hosts behind" in daemon.log()
        stopped = come()
        client.sendall(MARKER)
        wait_until(lambda: come() > stopped, "another one is, after an orderly stop")
        router.start_daemon("--forward", INSIDE)
        with pytest.raises(ConnectionError):
            exchange(client, MARKER)
        outside.stop()
        router.daemons[-1].stop()
        assert not router.own_rules()
    assert outside.contains(b"a new one is plain")
    assert not outside.contains(MARKER)


@contextmanager
def counting(router: Host, client: socket.socket) -> Iterator[Callable[[], int]]:
    """Counts the client's segments that reach the router, whatever becomes of them."""
    rule = ["PREROUTING", "-i", INSIDE, "-p", "tcp", "--sport", str(client.getsockname()[1])]

    def come() -> int:
        found = re.search(r"\[(\d+):\d+\] -A PREROUTING", router.run(["iptables-save", "-c", "-t", "raw"]).stdout)
        return int(found[1]) if found else 0

    router.run(["iptables", "-t", "raw", "-A", *rule])
    yield come
    router.run(["iptables", "-t", "raw", "-D", *rule])


@pytest.mark.parametrize(("protocol", "translated"), [("crypt", True), ("eno", False)])
def test_stopping_resets_both_ends_and_leaves_the_rules_as_they_were(
    path: Network, protocol: str, translated: bool
) -> None:
    router = router_of(path)
    if translated:
        masquerade(path)
    before = router.rules()
    path.server.start_daemon()
    daemon = router.start_daemon("--forward", INSIDE, "--protocol", protocol)
    ends: list[type[BaseException] | None] = []

    def serve_one(connection: socket.socket) -> None:
        try:
            echo_server(connection)
        except OSError as error:
            ends.append(type(error))
            raise

    with dialogue(path, serve_one) as client:
        assert exchange(client, b"before") == b"before"
        the_session(path)
        daemon.stop()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        wait_until(lambda: bool(ends), "the outside host's connection ends")
        assert ends == [ConnectionResetError]
    assert router.rules() == before


def test_the_routers_own_connections(path: Network) -> None:
    start(path, "--loopback")
    router, server = router_of(path), path.server
    with serve(server.listen(7000), echo_server), router.connect(server.ipv4, 7000) as own:
        assert exchange(own, MARKER) == MARKER
        assert the_session(path).local == own.getsockname()[:2]
    with serve(router.listen(7001), echo_server), server.connect("10.69.2.254", 7001) as theirs:
        assert exchange(theirs, MARKER) == MARKER
        wait_until(lambda: theirs.getsockname()[:2] in [each.remote for each in router.sessions()], "it is encrypted")
    with serve(router.listen(7002), echo_server), router.connect("127.0.0.1", 7002) as loopback:
        assert exchange(loopback, MARKER) == MARKER
        assert router.session_id(loopback)


def digest_server(connection: socket.socket) -> None:
    """Answers with the digest of the bytes, as many as `SIZE`."""
    connection.sendall(hashlib.sha256(read_exactly(connection, SIZE)).digest())


@BOTH_PROTOCOLS
def test_a_narrow_link_outside(path: Network, protocol: str) -> None:
    router_of(path).run(["ip", "link", "set", OUTSIDE, "mtu", "1400"])
    start(path, "--protocol", protocol)
    data = random.Random(1).randbytes(SIZE)
    with dialogue(path, digest_server) as client:
        client.sendall(data)
        assert read_exactly(client, 32) == hashlib.sha256(data).digest()
        the_session(path)


@pytest.mark.parametrize("options", [["--forward", INSIDE], []], ids=["gateway", "no gateway"])
def test_a_host_that_encrypts_by_itself(path: Network, options: list[str]) -> None:
    masquerade(path)
    path.server.start_daemon()
    path.client.start_daemon()
    router_of(path).start_daemon(*options)
    with dialogue(path) as client:
        assert exchange(client, MARKER) == MARKER
        (theirs,) = path.server.sessions()
        assert path.client.session_id(client) == theirs.session_id
        assert router_of(path).sessions() == []


def test_frames_that_the_kernel_does_not_merge(path: Network) -> None:
    """A frame comes in many small packets then, and is complete with the last: too large for the inside link."""
    router = router_of(path)
    for host, interface in ((path.server, "eth0"), (router, OUTSIDE), (router, INSIDE), (path.client, "eth0")):
        host.run(["ethtool", "-K", interface, "tso", "off", "gso", "off", "gro", "off"])
    start(path, "--protocol", "eno", translated=True)
    data = random.Random(1).randbytes(SIZE)
    with both_wires(path) as (inside, _), dialogue(path) as client:
        assert exchange(client, data) == data
        the_session(path)
    assert max(len(each.payload) for each in inside.segments()) <= 1460
    injected = re.search(
        r"^tcpcryptd_injected_packets_total (\d+)$", router.tcnetstat("--metrics").stdout, re.MULTILINE
    )
    assert injected is not None
    assert int(injected[1]) > 100
