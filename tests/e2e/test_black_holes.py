"""A path that swallows SYNs with the option: the first connection to a host waits for its third SYN, no other one."""

import socket

import pytest

from tests.e2e.harness import MARKER, Host, Network, echo_server, exchange, serve
from tests.e2e.harness.daemon import entry_point

SYN, ACK = 0x02, 0x10
TOOL: dict[int, str] = {socket.AF_INET: "iptables", socket.AF_INET6: "ip6tables"}
RULE = ["-t", "raw", "-A", "PREROUTING", "-p", "tcp", "--syn", "--tcp-option", "69", "-j", "DROP"]


def syns(client: Host, address: str, port: int) -> list[bool]:
    """Of each SYN of a connection, whether it had the option."""
    capture = client.capture()
    with client.connect(address, port) as connection:
        assert exchange(connection, MARKER) == MARKER
    capture.stop()
    return [69 in segment.kinds() for segment in capture.segments() if segment.flags & (SYN | ACK) == SYN]


def started(network: Network, place: str, protocol: str) -> Host:
    """The client's daemon, or the router's in front of it."""
    host = network.client if place == "client" else network.router
    assert host is not None
    host.start_daemon("--protocol", protocol, *([] if place == "client" else ["--forward", "eth0"]))
    return host


@pytest.mark.parametrize(
    ("place", "protocol", "family"),
    [
        ("client", "crypt", socket.AF_INET6),
        ("client", "eno", socket.AF_INET),
        ("client", "auto", socket.AF_INET),
        ("router", "crypt", socket.AF_INET),
    ],
    ids=["crypt", "eno", "auto", "forward"],
)
def test_the_second_connection_does_not_wait(path: Network, place: str, protocol: str, family: int) -> None:
    path.server.run([TOOL[family], *RULE])
    host = started(path, place, protocol)
    with serve(path.server.listen(0, family), echo_server) as port:
        address = path.server.address(family)
        first = syns(path.client, address, port)
        # On the router's inside they have no option yet.
        assert first == ([True, True, False] if place == "client" else [False] * 3)
        assert syns(path.client, address, port) == [False]
    reasons = [row["reason"] for row in host.report("--all")]
    assert "the peer answered only the SYN without the option" in reasons
    assert "SYNs with the option get no answer from this host" in reasons
    metrics = host.tcnetstat("--metrics").stdout
    assert 'tcpcryptd_black_holes{scope="host"} 1\n' in metrics
    assert 'tcpcryptd_offers_total{outcome="withheld"} 1\n' in metrics
    doctor = host.run([*entry_point("tcpcryptd"), "doctor", "--no-self-test"], check=False).stdout
    assert "SYNs with TCP option 69 get no answer from 1 hosts" in doctor


def test_several_hosts_are_the_whole_network(path: Network) -> None:
    """Until one answers: here one whose connections have to be encrypted, and which goes on being offered that."""
    path.server.run([TOOL[socket.AF_INET], *RULE])
    path.server.run([TOOL[socket.AF_INET], "-t", "raw", "-I", "PREROUTING", "-d", "10.69.2.9", "-j", "ACCEPT"])
    hosts = [f"10.69.2.{number}" for number in range(2, 10)]
    for address in hosts:
        path.server.run(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
    path.client.start_daemon("--workers", "1", "--require", "10.69.2.9/32")
    path.server.start_daemon()
    with serve(path.server.listen(0), echo_server) as port:
        for address in hosts[:3]:
            assert syns(path.client, address, port) == [True, True, False]
        for address in hosts[3:5]:
            assert syns(path.client, address, port) == [False]
        assert 'scope="network"} 1\n' in path.client.tcnetstat("--metrics").stdout
        assert syns(path.client, "10.69.2.9", port) == [True]
        assert 'scope="network"} 0\n' in path.client.tcnetstat("--metrics").stdout
        assert syns(path.client, hosts[5], port)[0]
