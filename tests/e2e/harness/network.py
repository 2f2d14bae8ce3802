"""Topologies: one host, two hosts on a wire, two hosts with a router between them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness.host import Host
from tests.e2e.harness.namespace import Namespace
from tests.e2e.harness.process import run


@dataclass(frozen=True)
class Network:
    """Two hosts; in a routed one `router` stands between them, its eth0 towards the client, eth1 to the server."""

    client: Host
    server: Host
    router: Host | None = None

    def hosts(self) -> list[Host]:
        """All hosts, the router included."""
        return [self.client, self.server, *([self.router] if self.router else [])]


@contextlib.contextmanager
def single(directory: Path) -> Iterator[Host]:
    """One host that has only its loopback interface."""
    with _host("a", directory, "127.0.0.1", "::1") as host:
        yield host


@contextlib.contextmanager
def pair(directory: Path, mtu: int = 1500) -> Iterator[Network]:
    """Client and server on one wire."""
    with (
        _host("client", directory, "10.69.0.1", "fd69::1") as client,
        _host("server", directory, "10.69.0.2", "fd69::2") as server,
    ):
        _wire(client, "eth0", server, "eth0", mtu)
        _address(client, "eth0", "10.69.0.1", "fd69::1")
        _address(server, "eth0", "10.69.0.2", "fd69::2")
        yield Network(client, server)


@contextlib.contextmanager
def routed(directory: Path, mtu: int = 1500) -> Iterator[Network]:
    """Client and server with a router between them, for what happens on the way."""
    with (
        _host("client", directory, "10.69.1.1", "fd69:1::1") as client,
        _host("router", directory, "10.69.1.254", "fd69:1::fe") as router,
        _host("server", directory, "10.69.2.1", "fd69:2::1") as server,
    ):
        _wire(client, "eth0", router, "eth0", mtu)
        _wire(router, "eth1", server, "eth0", mtu)
        _address(client, "eth0", "10.69.1.1", "fd69:1::1")
        _address(router, "eth0", "10.69.1.254", "fd69:1::fe")
        _address(router, "eth1", "10.69.2.254", "fd69:2::fe")
        _address(server, "eth0", "10.69.2.1", "fd69:2::1")
        router.namespace.sysctl("net.ipv4.ip_forward", 1)
        router.namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
        for host, gateways in ((client, ("10.69.1.254", "fd69:1::fe")), (server, ("10.69.2.254", "fd69:2::fe"))):
            for gateway in gateways:
                host.run(["ip", "route", "add", "default", "via", gateway])
        yield Network(client, server, router)


@contextlib.contextmanager
def lengthened(network: Network, directory: Path) -> Iterator[Network]:
    """A routed network whose server becomes a router, its eth1 towards the server behind it."""
    hop = network.server
    with _host("behind", directory, "10.69.3.1", "fd69:3::1") as behind:
        _wire(hop, "eth1", behind, "eth0", 1500)
        _address(hop, "eth1", "10.69.3.254", "fd69:3::fe")
        _address(behind, "eth0", "10.69.3.1", "fd69:3::1")
        hop.namespace.sysctl("net.ipv4.ip_forward", 1)
        hop.namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
        assert network.router is not None
        for host, prefixes, gateways in (
            (network.router, ("10.69.3.0/24", "fd69:3::/64"), (hop.ipv4, hop.ipv6)),
            (behind, ("default", "default"), ("10.69.3.254", "fd69:3::fe")),
        ):
            for prefix, gateway in zip(prefixes, gateways, strict=True):
                host.run(["ip", "route", "add", prefix, "via", gateway])
        yield Network(network.client, behind, network.router)


@contextlib.contextmanager
def _host(label: str, directory: Path, ipv4: str, ipv6: str) -> Iterator[Host]:
    home = directory / label
    namespace = Namespace(label, home)
    try:
        yield Host(namespace, home, ipv4, ipv6)
    finally:
        namespace.close()


def _wire(one: Host, one_interface: str, other: Host, other_interface: str, mtu: int) -> None:
    end = ["type", "veth", "peer", "name", other_interface, "mtu", str(mtu), "netns", other.namespace.name]
    run(["ip", "link", "add", one_interface, "mtu", str(mtu), "netns", one.namespace.name, *end])
    for host, interface in ((one, one_interface), (other, other_interface)):
        host.run(["ip", "link", "set", interface, "up"])


def _address(host: Host, interface: str, ipv4: str, ipv6: str) -> None:
    # nodad: the address can be used at once.
    host.run(["ip", "address", "add", f"{ipv4}/24", "dev", interface])
    host.run(["ip", "address", "add", f"{ipv6}/64", "dev", interface, "nodad"])
