"""ICMP errors about encrypted connections: the local kernel has to believe them, and none may quote plaintext."""

import socket

import pytest

from tests.e2e.harness import (
    FAMILIES,
    MARKER,
    Host,
    Network,
    dialogue,
    exchange,
    read_exactly,
    same_session,
    wait_until,
)
from tests.e2e.test_gateway import masquerade

NARROW = 1400
OVERHEAD = {"crypt": 40, "eno": 20}
"""Bytes that the kernel is to reckon with in each segment."""
MESSAGES = 4_000
DATA = MARKER * 10_000
VARIANTS = pytest.mark.parametrize(
    ("protocol", "options"), [("crypt", []), ("crypt", ["--whole-packets"]), ("eno", [])], ids=["crypt", "whole", "eno"]
)
PLAINTEXT = MARKER[:16]
ICMP = "icmp or icmp6"


def shift_numbers(client: socket.socket) -> None:
    """Many short messages, each in a frame: the wire's numbers get ahead of the kernels' by more than is in flight."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(MESSAGES):
        client.sendall(b"x")
        read_exactly(client, 1)


def narrow(network: Network) -> None:
    """Both ends of the outer link: one that is too narrow for its neighbour swallows packets without a word."""
    assert network.router
    network.router.run(["ip", "link", "set", "eth1", "mtu", str(NARROW)])
    network.server.run(["ip", "link", "set", "eth0", "mtu", str(NARROW)])


def learnt_mtu(host: Host, address: str) -> int | None:
    words = host.run(["ip", "route", "get", address]).stdout.split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else None


def kernel_counter(host: Host, name: str) -> int:
    lines = host.run(["nstat", "-asz", name]).stdout.splitlines()
    return int(lines[-1].split()[1])


@VARIANTS
@FAMILIES
def test_the_kernel_learns_the_mtu_of_a_path_that_gets_narrower(
    path: Network, protocol: str, options: list[str], family: int
) -> None:
    for host in (path.client, path.server):
        host.start_daemon("--protocol", protocol, *options)
    with dialogue(path, family=family) as client:
        shift_numbers(client)
        session = same_session(path, client)
        narrow(path)
        assert exchange(client, DATA) == DATA
        assert learnt_mtu(path.client, path.server.address(family)) == NARROW - OVERHEAD[protocol]
        assert same_session(path, client) == session
    assert kernel_counter(path.client, "TcpExtOutOfWindowIcmps") == 0


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("translated", [False, True], ids=["routed", "masqueraded"])
def test_a_host_behind_a_gateway_learns_it(path: Network, translated: bool, workers: int) -> None:
    """Also when another worker than the connection's gets the error."""
    router = path.router
    assert router
    if translated:
        masquerade(path)
    for host, more in ((path.server, []), (router, ["--forward", "eth0", "--workers", str(workers)])):
        host.start_daemon("--protocol", "eno", *more)
    with dialogue(path) as client:
        shift_numbers(client)
        wait_until(lambda: bool(router.sessions()), "the router has a session")
        # The router itself finds that the link is too narrow.
        narrow(path)
        assert exchange(client, DATA) == DATA
        assert learnt_mtu(path.client, path.server.ipv4) == NARROW - OVERHEAD["eno"]


@VARIANTS
@FAMILIES
def test_a_refusal_quotes_no_plaintext(network: Network, protocol: str, options: list[str], family: int) -> None:
    """A firewall behind the daemon answers what has been deciphered with an error that quotes it."""
    for host in network.hosts():
        host.start_daemon("--protocol", protocol, *options)
    tool, kind, counter = {
        int(socket.AF_INET): ("iptables", "icmp-port-unreachable", "IcmpInDestUnreachs"),
        int(socket.AF_INET6): ("ip6tables", "icmp6-port-unreachable", "Icmp6InDestUnreachs"),
    }[family]
    with dialogue(network, family=family) as client:
        assert exchange(client, b"hello") == b"hello"
        capture = network.client.capture(also=ICMP)
        network.server.run([tool, "-A", "INPUT", "-p", "tcp", "-j", "REJECT", "--reject-with", kind])
        client.sendall(MARKER * 20)
        wait_until(lambda: kernel_counter(network.client, counter) > 0, "the error has come")
        capture.stop()
    assert not capture.holds(PLAINTEXT)
