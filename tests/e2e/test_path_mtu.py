"""A link on the way that is narrower than the hosts' own: the kernel cuts its segments to it, and we add to them."""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    Network,
    assert_encrypted,
    dialogue,
    exchange,
    read_exactly,
    same_session,
    serve,
)
from tests.e2e.harness.network import lengthened
from tests.e2e.harness.process import PATIENCE
from tests.e2e.test_firewalls import start
from tests.e2e.test_icmp import VARIANTS
from tests.e2e.test_transfer import fetch, serve_files

SIZE = 3_000_000
SECONDS = 20.0
DATA = MARKER * 20_000
EARLY, LATE = 1_000_000, 600_000
"""Bytes before and after the path has become narrower."""
BLACK_HOLE_SECONDS = 40.0
SLACK = 10.0


@pytest.mark.parametrize("mtu", [1280, 1400, 1480])
@FAMILIES
@BOTH_PROTOCOLS
def test_a_narrow_link_on_the_way(path: Network, directory: Path, protocol: str, family: int, mtu: int) -> None:
    assert path.router is not None
    path.router.run(["ip", "link", "set", "eth0", "mtu", str(mtu)])
    start(path, protocol)
    data = random.Random(mtu).randbytes(SIZE)
    (directory / "data").write_bytes(data)
    serve_files(path, directory)
    got = directory / "got"
    fetch(path, family, "data", got, SECONDS)
    assert got.read_bytes() == data
    with dialogue(path) as client:
        same_session(path, client)


@FAMILIES
@BOTH_PROTOCOLS
def test_the_path_becomes_narrower_in_a_transfer(path: Network, protocol: str, family: int) -> None:
    assert path.router
    start(path, protocol)
    capture = path.client.capture()
    with dialogue(path, family=family) as client:
        assert exchange(client, DATA) == DATA
        session = same_session(path, client)
        # Both ends of the link: one that is too narrow for its neighbour swallows packets without a word.
        path.router.run(["ip", "link", "set", "eth1", "mtu", "1300"])
        path.server.run(["ip", "link", "set", "eth0", "mtu", "1300"])
        assert exchange(client, DATA) == DATA
        assert same_session(path, client) == session
    assert_encrypted(capture.stop(), protocol)


class Upload:
    """A connection by which bytes go to the server, which says when it has got them."""

    def __init__(self, network: Network, port: int, family: int) -> None:
        self.socket = network.client.connect(network.server.address(family), port)
        self.seconds = 0.0

    def send(self, size: int) -> None:
        began = time.monotonic()
        self.socket.sendall(size.to_bytes(4, "big") + bytes(size))
        assert self.socket.recv(1) == b"."
        self.seconds = time.monotonic() - began


def take(connection: socket.socket) -> None:
    with contextlib.suppress(EOFError):
        while True:
            read_exactly(connection, int.from_bytes(read_exactly(connection, 4), "big"))
            connection.sendall(b".")


def set_mtu(network: Network, mtu: int) -> None:
    assert network.router
    network.router.run(["ip", "link", "set", "eth1", "mtu", str(mtu)])
    network.server.run(["ip", "link", "set", "eth0", "mtu", str(mtu)])


@pytest.fixture
def silent(path: Network) -> Network:
    """The router says nothing of packets that are too large."""
    assert path.router
    for tool, words in (("iptables", ["icmp"]), ("ip6tables", ["icmpv6", "--icmpv6-type", "packet-too-big"])):
        path.router.run([tool, "-A", "OUTPUT", "-p", *words, "-j", "DROP"])
    return path


@contextlib.contextmanager
def plain_and_encrypted(
    network: Network, family: int, protocol: str, options: list[str], *, forwarded: bool = False
) -> Iterator[list[Upload]]:
    """Two connections beside each other, the one older than the daemons."""
    with serve(network.server.listen(0, family), take) as port, contextlib.ExitStack() as sockets:
        plain = Upload(network, port, family)
        sockets.enter_context(plain.socket)
        plain.send(EARLY)
        end = network.router if forwarded else network.client
        assert end
        end.start_daemon("--protocol", protocol, *options, *(["--forward", "eth0"] if forwarded else []))
        network.server.start_daemon("--protocol", protocol, *options)
        encrypted = Upload(network, port, family)
        sockets.enter_context(encrypted.socket)
        encrypted.send(EARLY)
        assert len(end.sessions()) == len(network.server.sessions()) == 1
        yield [plain, encrypted]


def send_together(uploads: list[Upload]) -> list[threading.Thread]:
    for each in uploads:
        each.seconds = 0.0
    threads = [threading.Thread(target=each.send, args=(LATE,), daemon=True) for each in uploads]
    for thread in threads:
        thread.start()
    return threads


def assert_no_worse_than_plain(uploads: list[Upload], threads: list[threading.Thread]) -> None:
    """The kernel doubles its timeouts, so that one more of them can take as long as all before."""
    for thread in threads:
        thread.join(BLACK_HOLE_SECONDS * PATIENCE)
    plain, encrypted = uploads
    assert plain.seconds > 0
    assert 0 < encrypted.seconds < 2 * plain.seconds + SLACK * PATIENCE


@pytest.mark.parametrize(
    ("family", "probing", "forwarded"),
    [
        *((family, probing, False) for family in (socket.AF_INET, socket.AF_INET6) for probing in (1, 2)),
        (socket.AF_INET, 1, True),
        (socket.AF_INET6, 2, True),
    ],
    ids=["ipv4-1", "ipv4-2", "ipv6-1", "ipv6-2", "gateway-ipv4-1", "gateway-ipv6-2"],
)
@VARIANTS
def test_nobody_says_that_it_became_narrower(
    silent: Network, probing: int, forwarded: bool, family: int, protocol: str, options: list[str]
) -> None:
    """The kernel finds out by itself (RFC 4821): by what is lost, and with 2 also by larger segments now and then."""
    silent.client.namespace.sysctl("net.ipv4.tcp_mtu_probing", probing)
    with plain_and_encrypted(silent, family, protocol, options, forwarded=forwarded) as uploads:
        set_mtu(silent, 1300)
        assert_no_worse_than_plain(uploads, send_together(uploads))


@FAMILIES
@VARIANTS
def test_nobody_says_it_nor_looks_for_it(silent: Network, family: int, protocol: str, options: list[str]) -> None:
    """Nothing gets through, encrypted or not, until the path is as it was."""
    silent.client.namespace.sysctl("net.ipv4.tcp_mtu_probing", 0)
    with plain_and_encrypted(silent, family, protocol, options) as uploads:
        set_mtu(silent, 1300)
        threads = send_together(uploads)
        threads[0].join(1.0)
        assert all(thread.is_alive() for thread in threads)
        set_mtu(silent, 1500)
        assert_no_worse_than_plain(uploads, threads)


@FAMILIES
@VARIANTS
def test_a_link_beyond_a_gateway_becomes_narrower(
    path: Network, directory: Path, family: int, protocol: str, options: list[str]
) -> None:
    """Another router says so, to the host behind the gateway."""
    hop = path.server
    with (
        lengthened(path, directory) as network,
        plain_and_encrypted(network, family, protocol, options, forwarded=True) as uploads,
    ):
        hop.run(["ip", "link", "set", "eth1", "mtu", "1300"])
        network.server.run(["ip", "link", "set", "eth0", "mtu", "1300"])
        assert_no_worse_than_plain(uploads, send_together(uploads))
        assert uploads[1].seconds < SLACK * PATIENCE
