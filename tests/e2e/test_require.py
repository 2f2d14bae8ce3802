"""What must be encrypted waits while no daemon is there: nothing of it passes in clear; all else goes on."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.harness import MARKER, Host, Network, dialogue, exchange, wait_until
from tests.e2e.harness.daemon import entry_point
from tests.e2e.harness.traffic import echo_server, serve
from tests.e2e.test_workers import fork_server_of, workers_of

FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
OPTIONS = pytest.mark.parametrize("option", ["--require", "--require-post-quantum", "--require-identity"])
WORKERS = 2


def opening(host: Host, address: str, port: int) -> socket.socket:
    """A socket whose connection is being opened."""
    client = host.namespace.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    client.setblocking(False)
    client.connect_ex((address, port))
    return client


def waits(host: Host) -> bool:
    """Whether the kernel has sent a SYN again in vain."""
    return "backoff:" in host.run(["ss", "-Htni", "state", "syn-sent"]).stdout


def is_open(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    client.settimeout(None)
    return True


@OPTIONS
@FAMILIES
def test_a_killed_daemon(network: Network, option: str, family: socket.AddressFamily) -> None:
    address = network.server.address(family)
    network.client.start_daemon(option, address).kill()
    other = socket.AF_INET6 if family == socket.AF_INET else socket.AF_INET
    with serve(network.server.listen(0, family), echo_server) as port:
        capture = network.client.capture()
        with opening(network.client, address, port) as client:
            wait_until(lambda: waits(network.client), "the SYN is sent again")
            with dialogue(network, family=other) as plain:
                assert exchange(plain, MARKER) == MARKER
            assert {segment.destination for segment in capture.stop().segments()}.isdisjoint({address})
            network.client.run([*entry_point("tcpcryptd"), "--cleanup"])
            wait_until(lambda: is_open(client), "the connection is opened without rules")
            assert exchange(client, MARKER) == MARKER


@OPTIONS
def test_what_the_other_host_opens(network: Network, option: str) -> None:
    network.client.start_daemon(option, network.server.ipv4).kill()
    with serve(network.client.listen(0), echo_server) as port:
        if option != "--require-identity":
            with network.server.connect(network.client.ipv4, port) as client:
                assert exchange(client, MARKER) == MARKER
            return
        with opening(network.server, network.client.ipv4, port) as client:
            wait_until(lambda: waits(network.server), "the SYN is sent again")
            assert not is_open(client)


def test_dead_workers(network: Network) -> None:
    """The SYN that waited is their successors'."""
    network.server.start_daemon()
    network.client.start_daemon("--workers", str(WORKERS), "--require", network.server.ipv4)
    starter = fork_server_of(network.client)
    with serve(network.server.listen(0), echo_server) as port:
        capture = network.client.capture()
        os.kill(starter, signal.SIGSTOP)
        for worker in workers_of(network.client).values():
            os.kill(worker, signal.SIGKILL)
        with opening(network.client, network.server.ipv4, port) as client:
            wait_until(lambda: waits(network.client), "the SYN is sent again")
            os.kill(starter, signal.SIGCONT)
            wait_until(lambda: is_open(client), "the connection is opened")
            assert exchange(client, MARKER) == MARKER
        assert not capture.stop().contains(MARKER)


def test_a_reload(network: Network, directory: Path) -> None:
    file = directory / "tcpcryptd.toml"
    file.write_text("")
    daemon = network.client.start_daemon("--config", str(file))

    def is_held() -> bool:
        return any(network.server.ipv4 in line for line in network.client.own_rules())

    for text, held in ((f'require = ["{network.server.ipv4}"]', True), ("", False)):
        file.write_text(text)
        os.kill(daemon.pid, signal.SIGHUP)
        wait_until(lambda: is_held() is held, "the rules are those of the configuration")  # noqa: B023
        assert daemon.running()
