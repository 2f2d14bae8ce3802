"""A bad path: what plain TCP survives an encrypted connection survives, or the application sees an error in time.

Every case first runs plain TCP through the same path, as the yardstick, then starts the daemons.
"""

import contextlib
import hashlib
import logging
import socket
import threading

import pytest

from tcpcryptd.wire.options import OptionError
from tests.e2e.harness import BOTH_PROTOCOLS, FAMILIES, MARKER, Capture, Network, dialogue, echo_server, read_exactly
from tests.e2e.harness.middlebox import impair
from tests.e2e.test_firewalls import guard

PORT = 7000
SIZE = 256 * 1024
USER_TIMEOUT = 5_000
"""Milliseconds without an acknowledgment after which a connection fails (TCP_USER_TIMEOUT)."""
SECONDS = 25.0


DATA = b"".join(MARKER + b"%06d" % number for number in range(SIZE // (len(MARKER) + 6)))


def echoed(network: Network, family: int = socket.AF_INET) -> str:
    """Sends the data there and back: "complete", "wrong" for other bytes, or the name of the error."""

    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
        echo_server(connection)

    try:
        with dialogue(network, answer, family=family, port=PORT) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
            client.settimeout(SECONDS)
            got = talk(client)
    except (ConnectionError, EOFError, TimeoutError) as error:
        logging.getLogger(__name__).warning("the transfer ends with %r", error)
        # The kernel's own timeout has a number; that of settimeout has none and is a hang.
        return "hang" if isinstance(error, TimeoutError) and not error.errno else "error"
    return "complete" if hashlib.sha256(got).digest() == hashlib.sha256(DATA).digest() else "wrong"


def talk(client: socket.socket) -> bytes:
    """Sends the data and reads as much; raises what reading raises."""

    def send() -> None:
        # The reader sees the same error.
        with contextlib.suppress(OSError):
            client.sendall(DATA)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        return read_exactly(client, len(DATA))
    finally:
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        sender.join(SECONDS)


SMALL_INIT1 = "X25519-HPKE"
"""The key agreement whose messages pass where longer segments are cut."""


def ends(
    network: Network,
    plain: str,
    *outcomes: str,
    protocol: str = "crypt",
    family: int = socket.AF_INET,
    suites: str = "",
) -> Capture:
    """Plain TCP ends as said, and with daemons a transfer in one of the other ways. The capture of the second."""
    assert echoed(network, family) == plain
    for host in (network.client, network.server):
        host.start_daemon("--protocol", protocol, *(("--suites", suites) if suites else ()))
    capture = network.client.capture()
    assert echoed(network, family) in outcomes
    capture.stop()
    return capture


def assert_sealed(capture: Capture, protocol: str = "crypt") -> None:
    assert not capture.contains(MARKER)
    assert ({69, 70} if protocol == "crypt" else {69}) <= kinds(capture)


def kinds(capture: Capture) -> set[int]:
    """Of the segments whose options were not damaged."""
    found: set[int] = set()
    for segment in capture.segments():
        with contextlib.suppress(OptionError):
            found |= segment.kinds()
    return found


@pytest.mark.parametrize(
    "impairment",
    [
        "loss",
        "duplication",
        "reordering",
        "delay",
        "corruption",
        "splitting",
        "merging",
        "clamping",
        "everything",
    ],
)
@BOTH_PROTOCOLS
def test_what_plain_tcp_survives(path: Network, impairment: str, protocol: str) -> None:
    assert path.router
    impair(path.router, impairment)
    assert_sealed(ends(path, "complete", "complete", protocol=protocol), protocol)


def sack_recoveries(network: Network) -> int:
    """How often a kernel has begun to fill holes that selective acknowledgments told it of."""
    count = 0
    for host in (network.client, network.server):
        lines = host.run(["cat", "/proc/net/netstat"]).stdout.splitlines()
        for names, numbers in zip(lines[::2], lines[1::2], strict=True):
            count += int(dict(zip(names.split(), numbers.split(), strict=True)).get("TCPSackRecovery", 0))
    return count


@BOTH_PROTOCOLS
def test_kernels_fill_holes_by_selective_acknowledgments(path: Network, protocol: str) -> None:
    assert path.router
    impair(path.router, "loss")
    for host in (path.client, path.server):
        host.start_daemon("--protocol", protocol)
    capture = path.client.capture()
    assert echoed(path) == "complete"
    capture.stop()
    assert_sealed(capture, protocol)
    assert sack_recoveries(path) > 0
    if protocol == "crypt":
        assert any({5, 70} <= segment.kinds() for segment in capture.segments())


@BOTH_PROTOCOLS
def test_bytes_that_plain_tcp_gets_wrong(path: Network, protocol: str) -> None:
    assert path.router
    impair(path.router, "forgery")
    # A part of a frame can be acknowledged before its tag has come: it cannot be sent again (RFC 8548 section 3.6).
    outcomes = ("complete",) if protocol == "crypt" else ("complete", "error")
    assert_sealed(ends(path, "wrong", *outcomes, protocol=protocol), protocol)


@pytest.mark.parametrize("impairment", ["splitting_all", "renumbering"])
def test_paths_that_tcp_eno_alone_crosses(path: Network, impairment: str) -> None:
    """Nothing of the header is authenticated (RFC 8548 section 8): whoever changes it harms nobody."""
    assert path.router
    impair(path.router, impairment)
    assert_sealed(ends(path, "complete", "complete", protocol="eno"), "eno")


@pytest.mark.parametrize("impairment", ["stripping_syn", "stripping_all"])
@BOTH_PROTOCOLS
def test_the_option_does_not_pass(path: Network, impairment: str, protocol: str) -> None:
    assert path.router
    impair(path.router, impairment)
    capture = ends(path, "complete", "complete", protocol=protocol)
    assert capture.contains(MARKER)
    assert 70 not in kinds(capture)


@pytest.mark.parametrize("impairment", ["splitting_all", "stripping_macs", "renumbering"])
def test_paths_that_the_protocol_cannot_cross(path: Network, impairment: str) -> None:
    """The MAC covers length and sequence number: the application gets an error, not wrong bytes, in bounded time."""
    assert path.router
    impair(path.router, impairment)
    assert not ends(path, "complete", "error", suites=SMALL_INIT1).contains(MARKER)


def test_an_init1_that_is_cut_on_its_way(path: Network) -> None:
    """With a post-quantum key it is long enough to be; the server takes no half of one, and the connection is plain."""
    assert path.router
    impair(path.router, "splitting_all")
    assert ends(path, "complete", "complete").contains(MARKER)


@pytest.mark.parametrize("where", ["client", "server"])
@BOTH_PROTOCOLS
def test_a_stateful_firewall_and_a_bad_path(path: Network, where: str, protocol: str) -> None:
    assert path.router
    guard(path.client if where == "client" else path.server, "INPUT")
    impair(path.router, "everything", seed=2)
    assert_sealed(ends(path, "complete", "complete", protocol=protocol), protocol)


@BOTH_PROTOCOLS
def test_address_translation_and_loss(path: Network, protocol: str) -> None:
    assert path.router
    path.router.run(["iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE"])
    impair(path.router, "loss")
    assert_sealed(ends(path, "complete", "complete", protocol=protocol), protocol)


@FAMILIES
@BOTH_PROTOCOLS
def test_a_black_hole_for_large_packets(path: Network, family: int, protocol: str) -> None:
    """Nobody says that the path is narrower; both kernels probe for it, as they have to for plain TCP."""
    assert path.router
    path.router.run(["ip", "link", "set", "eth1", "mtu", "1300"])
    path.router.run(["iptables", "-A", "OUTPUT", "-p", "icmp", "-j", "DROP"])
    path.router.run(["ip6tables", "-A", "OUTPUT", "-p", "icmpv6", "--icmpv6-type", "packet-too-big", "-j", "DROP"])
    for host in (path.client, path.server):
        host.namespace.sysctl("net.ipv4.tcp_mtu_probing", 2)
    assert_sealed(ends(path, "complete", "complete", protocol=protocol, family=family), protocol)
