"""Real daemons and the hybrid key agreements: links of all sizes, paths narrower than they say, older daemons."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    Capture,
    Host,
    Network,
    assert_encrypted,
    dialogue,
    exchange,
    same_session,
)
from tests.e2e.harness.daemon import entry_point
from tests.e2e.harness.earlier import earlier_daemons, earlier_package
from tests.e2e.harness.middlebox import impair

HYBRID, CLASSICAL = "MLKEM768-X25519-HPKE/", "X25519-HPKE/"
ENO_HYBRID = "MLKEM768-X25519/AES-128-GCM"
EARLIER = {"crypt": "X25519-HPKE/AES-256-GCM-SIV", "eno": "ECDHE-Curve25519/AES-128-GCM"}
"""What daemons of before agree on, with ours as well."""
INIT1, INIT2 = bytes.fromhex("15101a0e"), bytes.fromhex("097105e0")
"""How messages of `eno` begin."""
INIT1_AND_OPTIONS = 1260 + 16
TOOL: dict[int, str] = {socket.AF_INET: "iptables", socket.AF_INET6: "ip6tables"}


def suites(network: Network, family: int = socket.AF_INET, data: bytes = MARKER) -> tuple[str, float]:
    """The suite of a new connection, and how long it took to get an answer through it."""
    began = time.monotonic()
    with dialogue(network, family=family) as client:
        assert exchange(client, data) == data
        took = time.monotonic() - began
        port = client.getsockname()[1]
        same_session(network, client)
        (row,) = (row for row in network.client.report() if row["local"]["port"] == port)
        (other,) = (row for row in network.server.report() if row["remote"]["port"] == port)
        assert row["suite"] == other["suite"]
        assert row["post_quantum"] == other["post_quantum"] == row["suite"].startswith("MLKEM768")
        return str(row["suite"]), took


def counted(host: Host, outcome: str) -> int:
    (line,) = (
        line
        for line in host.tcnetstat("--metrics").stdout.splitlines()
        if line.startswith(f'tcpcryptd_post_quantum_total{{outcome="{outcome}"}}')
    )
    return int(line.split()[-1])


@FAMILIES
@pytest.mark.parametrize("mtu", [9000, 1500, 1492, 1420, 1336, 1335, 1316, 1315, 1280])
def test_it_is_used_where_it_fits(make_pair: Callable[[int], Network], mtu: int, family: int) -> None:
    network = make_pair(mtu)
    for host in network.hosts():
        host.start_daemon()
    capture = network.client.capture()
    suite, _ = suites(network, family)
    assert_encrypted(capture.stop(), "crypt")
    fits = mtu - (40 if family == socket.AF_INET else 60) >= INIT1_AND_OPTIONS
    assert suite.startswith(HYBRID if fits else CLASSICAL)
    for host in network.hosts():
        assert counted(host, "agreed" if fits else "size") == 1


@FAMILIES
def test_a_path_that_swallows_what_is_large(path: Network, family: int) -> None:
    assert path.router
    path.router.run([TOOL[family], "-A", "FORWARD", "-p", "tcp", "-m", "length", "--length", "1200:", "-j", "DROP"])
    for host in (path.client, path.server):
        host.start_daemon()
    suite, took = suites(path, family)
    assert suite.startswith(CLASSICAL)
    assert 1.4 < took < 4
    assert counted(path.client, "loss") == 1
    # Resumed.
    assert suites(path, family)[1] < 1


@FAMILIES
@pytest.mark.parametrize("may_be_cut", [False, True])
def test_a_path_that_is_narrower_than_the_links(path: Network, family: int, may_be_cut: bool) -> None:
    """The router says so. Kernels that look for no path MTUs let their packets be cut; INIT1 is not."""
    assert path.router
    path.router.run(["ip", "link", "set", "eth1", "mtu", "1280"])
    if may_be_cut:
        path.client.run(["sysctl", "-q", "-w", "net.ipv4.ip_no_pmtu_disc=1"])
    for host in (path.client, path.server):
        host.start_daemon("--no-cache")
    suite, took = suites(path, family)
    assert suite.startswith(CLASSICAL)
    assert took < 4
    # The kernel knows now.
    suite, took = suites(path, family)
    assert suite.startswith(CLASSICAL)
    assert took < 0.4
    assert counted(path.client, "size") >= 1
    snmp = path.server.run(["cat", "/proc/net/snmp"]).stdout.splitlines()
    names, values = (line.split() for line in snmp if line.startswith("Ip:"))
    assert dict(zip(names, values, strict=True))["ReasmReqds"] == "0"


def first_data(capture: Capture, begins: bytes) -> list[int]:
    """The lengths of the payloads from an Init message on, of its sender, up to the message's end."""
    segments = [each for each in capture.segments() if each.payload]
    at = next(number for number, each in enumerate(segments) if each.payload.startswith(begins))
    length, found = int.from_bytes(segments[at].payload[4:8], "big"), list[int]()
    for each in segments[at:]:
        if each.source == segments[at].source and sum(found) < length:
            found.append(len(each.payload))
    return found


def test_two_daemons_agree_on_it_with_eno(network: Network) -> None:
    network.client.start_daemon("--protocol", "auto")
    network.server.start_daemon()
    capture = network.client.capture()
    for _ in range(2):
        assert suites(network, data=MARKER * 3000)[0] == ENO_HYBRID
    assert counted(network.client, "agreed") == counted(network.server, "agreed") == 2
    assert_encrypted(capture.stop(), "eno")
    assert (first_data(capture, INIT1)[0], first_data(capture, INIT2)[0]) == (1265, 1164)


@pytest.mark.parametrize("mtu", [576, 900, 1280])
def test_messages_of_several_segments(network: Network, mtu: int) -> None:
    for host in (network.client, network.server):
        host.run(["ip", "link", "set", "eth0", "mtu", str(mtu)])
    network.client.start_daemon("--protocol", "eno")
    network.server.start_daemon()
    capture = network.client.capture()
    assert suites(network, data=MARKER * 3000)[0] == ENO_HYBRID
    capture.stop()
    for message, size in ((INIT1, 1265), (INIT2, 1164)):
        lengths = first_data(capture, message)
        assert sum(lengths) == size
        assert max(lengths) <= mtu - 40 - 12
    assert len(first_data(capture, INIT1)) > 1
    assert_encrypted(capture, "eno")


def test_a_bad_path(path: Network) -> None:
    """Loss, reordering, corruption and segments that are cut: each connection gets its keys and its data."""
    assert path.router
    for host, interface in ((path.client, "eth0"), (path.server, "eth0"), (path.router, "eth0"), (path.router, "eth1")):
        host.run(["ip", "link", "set", interface, "mtu", "576"])
    impair(path.router, "everything")
    path.client.start_daemon("--protocol", "eno", "--no-cache")
    path.server.start_daemon()
    for _ in range(6):
        assert suites(path, data=MARKER * 20)[0] == ENO_HYBRID


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return earlier_package(tmp_path_factory.mktemp("older"))


@pytest.mark.parametrize("protocol", ["crypt", "eno", "auto"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_an_earlier_daemon(network: Network, older: Path, side: str, protocol: str) -> None:
    host, newer = (network.client, network.server) if side == "client" else (network.server, network.client)
    with earlier_daemons(older):
        host.start_daemon("--protocol", protocol)
    newer.start_daemon("--protocol", protocol)
    capture = network.client.capture()
    for resumed in (False, True):
        with dialogue(network) as client:
            assert exchange(client, MARKER * 1000) == MARKER * 1000
            same_session(network, client)
            row = newer.report()[-1]
            assert row["resumed"] == resumed
            assert not row["post_quantum"]
            assert row["suite"] == EARLIER["crypt" if protocol == "crypt" else "eno"]
    assert_encrypted(capture.stop(), "crypt" if protocol == "crypt" else "eno")
    assert counted(newer, "peer") == 1
    assert counted(newer, "resumed") == 1


@BOTH_PROTOCOLS
def test_destinations_that_require_it(network: Network, protocol: str) -> None:
    """A server that may not agree on it is not connected to."""
    network.client.start_daemon("--protocol", protocol, "--require-post-quantum", network.server.ipv4)
    without = "X25519-HPKE" if protocol == "crypt" else "ECDHE-Curve25519"
    server = network.server.start_daemon("--suites", without)
    capture = network.client.capture()
    with pytest.raises(OSError, match=r"refused|reset|timed out"), dialogue(network) as client:
        exchange(client, MARKER)
    server.stop()
    server = network.server.start_daemon()
    for _ in range(2):
        assert suites(network)[0].startswith(HYBRID if protocol == "crypt" else ENO_HYBRID)
    assert not capture.stop().contains(MARKER)
    assert counted(network.client, "agreed") == counted(network.server, "agreed") == 2
    assert ", post-quantum" in server.log()
    version = network.client.run([*entry_point("tcpcryptd"), "--version"]).stdout
    assert version.endswith(", post-quantum key agreement)\n")
