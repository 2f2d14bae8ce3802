"""A link on the way that is narrower than the hosts' own: the kernel cuts its segments to it, and we add to them."""

import random
from pathlib import Path

import pytest

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    Network,
    assert_encrypted,
    dialogue,
    echo_server,
    exchange,
    same_session,
)
from tests.e2e.test_firewalls import start
from tests.e2e.test_transfer import fetch, serve_files

SIZE = 3_000_000
SECONDS = 20.0
DATA = MARKER * 20_000


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
    with dialogue(path, echo_server) as client:
        same_session(path, client)


@FAMILIES
@BOTH_PROTOCOLS
def test_the_path_becomes_narrower_in_a_transfer(path: Network, protocol: str, family: int) -> None:
    assert path.router
    start(path, protocol)
    capture = path.client.capture()
    with dialogue(path, echo_server, family=family) as client:
        assert exchange(client, DATA) == DATA
        session = same_session(path, client)
        # Both ends of the link: one that is too narrow for its neighbour swallows packets without a word.
        path.router.run(["ip", "link", "set", "eth1", "mtu", "1300"])
        path.server.run(["ip", "link", "set", "eth0", "mtu", "1300"])
        assert exchange(client, DATA) == DATA
        assert same_session(path, client) == session
    capture.stop()
    assert_encrypted(capture, protocol)
