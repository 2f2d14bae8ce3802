"""The harness itself: its wire carries, its captures see, its leftovers are gone."""

import os
import socket
from pathlib import Path

import pytest

from tests.e2e.harness import HarnessError, Network, dialogue, exchange, pair, wait_until
from tests.e2e.harness.process import run


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_plain_traffic_is_seen_on_the_wire(network: Network, family: int) -> None:
    marker = b"in the clear and easy to find "
    capture = network.client.capture()
    with dialogue(network, family=family) as client:
        assert exchange(client, marker * 100) == marker * 100
    capture.stop()
    assert capture.contains(marker)
    assert capture.size() == 2 * 100 * len(marker)
    assert 2 in capture.kinds()
    assert not {69, 70} & capture.kinds()


def test_traffic_crosses_the_router(path: Network) -> None:
    assert path.router
    for family in (socket.AF_INET, socket.AF_INET6):
        capture = path.router.capture("eth1")
        with dialogue(path, family=family) as client:
            assert exchange(client, b"over the router") == b"over the router"
        capture.stop()
        assert capture.contains(b"over the router")


def test_run_is_private(network: Network) -> None:
    network.client.run(["touch", "/run/only-here"])
    assert (network.client.namespace.run_directory / "only-here").exists()
    assert not Path("/run/only-here").exists()
    assert network.server.run(["test", "-e", "/run/only-here"], check=False).returncode == 1


def test_nothing_is_left_behind(directory: Path) -> None:
    def names() -> set[str]:
        return {line.split()[0] for line in run(["ip", "netns", "list"]).stdout.splitlines()}

    def fail() -> None:
        with pair(directory) as network:
            made = {host.namespace.name for host in network.hosts()}
            assert made <= names()
            left.append((made, network.client.namespace.spawn(["sh", "-c", "sleep 1000 & sleep 1000"]).pid))
            raise HarnessError("as a failing test would")

    left: list[tuple[set[str], int]] = []
    with pytest.raises(HarnessError, match="as a failing"):
        fail()
    made, pid = left[0]
    assert not made & names()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the process is gone")


def test_a_socket_stays_in_its_namespace(network: Network) -> None:
    before = os.readlink("/proc/self/ns/net")
    listener = network.server.listen(0)
    port = listener.getsockname()[1]
    assert os.readlink("/proc/self/ns/net") == before
    with listener, network.client.connect(network.server.ipv4, port) as client:
        assert client.getpeername() == (network.server.ipv4, port)
    with pytest.raises(ConnectionRefusedError):
        network.client.connect(network.client.ipv4, port)
