"""A link on the way that is narrower than the hosts' own: the kernel cuts its segments to it, and we add to them."""

import random
import socket
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import Network, dialogue, echo_server, same_session

SIZE = 3_000_000
PORT = 8080


@pytest.mark.parametrize("mtu", [1280, 1400, 1480])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_a_narrow_link_on_the_way(path: Network, directory: Path, family: int, mtu: int) -> None:
    assert path.router is not None
    path.router.run(["ip", "link", "set", "eth0", "mtu", str(mtu)])
    for host in (path.client, path.server):
        host.start_daemon()
    data = random.Random(mtu).randbytes(SIZE)
    (directory / "data").write_bytes(data)
    serve_files(path, directory)
    address = path.server.address(family)
    url = f"http://{f'[{address}]' if family == socket.AF_INET6 else address}:{PORT}/data"
    got = directory / "got"
    path.client.run(["curl", "--silent", "--show-error", "--fail", "--output", str(got), url], timeout=20)
    assert got.read_bytes() == data
    with dialogue(path, echo_server) as client:
        same_session(path, client)


def serve_files(network: Network, directory: Path) -> None:
    command = [sys.executable, "-m", "http.server", "--bind", "::", "--directory", str(directory), str(PORT)]
    network.server.namespace.spawn(command)
    network.server.wait_listening(PORT)
