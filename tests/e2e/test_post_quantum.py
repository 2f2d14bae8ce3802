"""Real daemons and the hybrid key agreement: links of all sizes, paths narrower than they say, older daemons."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import FAMILIES, MARKER, Host, Network, assert_encrypted, dialogue, exchange, same_session
from tests.e2e.harness.daemon import entry_point
from tests.e2e.harness.earlier import earlier_daemons, earlier_package

HYBRID, CLASSICAL = "MLKEM768-X25519-HPKE/", "X25519-HPKE/"
INIT1_AND_OPTIONS = 1260 + 16
TOOL: dict[int, str] = {socket.AF_INET: "iptables", socket.AF_INET6: "ip6tables"}


def suites(network: Network, family: int = socket.AF_INET) -> tuple[str, float]:
    """The suite of a new connection, and how long it took to get an answer through it."""
    began = time.monotonic()
    with dialogue(network, family=family) as client:
        assert exchange(client, MARKER) == MARKER
        took = time.monotonic() - began
        port = client.getsockname()[1]
        same_session(network, client)
        (row,) = (row for row in network.client.report() if row["local"]["port"] == port)
        (other,) = (row for row in network.server.report() if row["remote"]["port"] == port)
        assert row["suite"] == other["suite"]
        assert row["post_quantum"] == row["suite"].startswith(HYBRID)
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
    capture.stop()
    assert_encrypted(capture, "crypt")
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


@pytest.mark.parametrize("protocol", ["crypt", "eno"])
@pytest.mark.parametrize("older", ["client", "server"])
def test_an_earlier_daemon(network: Network, directory: Path, older: str, protocol: str) -> None:
    package = directory / "earlier"
    package.mkdir()
    earlier_package(package)
    host = getattr(network, older)
    (newer,) = (each for each in network.hosts() if each is not host)
    with earlier_daemons(package):
        host.start_daemon("--protocol", protocol)
    newer.start_daemon("--protocol", protocol)
    for resumed in (False, True):
        with dialogue(network) as client:
            assert exchange(client, MARKER * 1000) == MARKER * 1000
            same_session(network, client)
            row = newer.report()[-1]
            assert row["resumed"] == resumed
            assert not row["post_quantum"]
            if protocol == "crypt":
                assert row["suite"] == "X25519-HPKE/AES-256-GCM-SIV"
    assert counted(newer, "peer") == 1
    assert counted(newer, "resumed") == 1


def test_destinations_that_require_it(network: Network) -> None:
    network.client.start_daemon("--require-post-quantum", network.server.ipv4)
    server = network.server.start_daemon("--suites", "X25519-HPKE")
    with network.server.listen(7777), pytest.raises(OSError, match=r"refused|reset|timed out"):
        network.client.connect(network.server.ipv4, 7777).close()
    server.stop()
    server = network.server.start_daemon()
    assert suites(network)[0].startswith(HYBRID)
    assert suites(network)[0].startswith(HYBRID)
    assert counted(network.client, "agreed") == counted(network.server, "agreed") == 2
    assert ", post-quantum" in server.log()
    version = network.client.run([*entry_point("tcpcryptd"), "--version"]).stdout
    assert version.endswith(", post-quantum key agreement)\n")
