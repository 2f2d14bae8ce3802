"""MLKEM768-X25519 in TCP-ENO (docs/eno.md) between real hosts, on narrow links, and with an older daemon."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import MARKER, Capture, Host, Network, assert_encrypted, dialogue, exchange, same_session
from tests.e2e.harness.earlier import earlier_daemons, earlier_package
from tests.e2e.harness.middlebox import impair

INIT1, INIT2 = bytes.fromhex("15101a0e"), bytes.fromhex("097105e0")
DATA = MARKER * 3000


def suite(host: Host) -> tuple[str, bool, bool]:
    """Suite, whether it is post-quantum and whether it was resumed, of the latest open connection of a host's."""
    row = min(host.report(), key=lambda row: float(row["age"]))
    return row["suite"], row["post_quantum"], row["resumed"]


def talk(network: Network, data: bytes = DATA) -> tuple[str, bool, bool]:
    """One connection, and what its suite was at the client's host."""
    with dialogue(network) as client:
        assert exchange(client, data) == data
        same_session(network, client)
        return suite(network.client)


def first_data(capture: Capture, begins: bytes) -> list[int]:
    """The lengths of the payloads from an Init message on, of its sender, up to the message's end."""
    segments = [each for each in capture.segments() if each.payload]
    at = next(number for number, each in enumerate(segments) if each.payload.startswith(begins))
    length, found = int.from_bytes(segments[at].payload[4:8], "big"), list[int]()
    for each in segments[at:]:
        if each.source == segments[at].source and sum(found) < length:
            found.append(len(each.payload))
    return found


def test_it_is_what_two_daemons_agree_on(network: Network) -> None:
    network.client.start_daemon("--protocol", "auto")
    network.server.start_daemon()
    capture = network.client.capture()
    for resumed in (False, True):
        assert talk(network) == ("MLKEM768-X25519/AES-128-GCM", True, resumed)
    capture.stop()
    assert_encrypted(capture, "eno")
    assert (first_data(capture, INIT1)[0], first_data(capture, INIT2)[0]) == (1265, 1164)


@pytest.mark.parametrize("mtu", [576, 900, 1280])
def test_messages_of_several_segments(network: Network, mtu: int) -> None:
    for host in (network.client, network.server):
        host.run(["ip", "link", "set", "eth0", "mtu", str(mtu)])
    network.client.start_daemon("--protocol", "eno")
    network.server.start_daemon()
    capture = network.client.capture()
    assert talk(network)[1]
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
        assert talk(path, MARKER * 20) == ("MLKEM768-X25519/AES-128-GCM", True, False)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return earlier_package(tmp_path_factory.mktemp("older"))


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("protocol", ["eno", "auto"])
def test_with_an_older_daemon(network: Network, older: Path, side: str, protocol: str) -> None:
    starts: dict[str, Callable[[], object]] = {
        "client": lambda: network.client.start_daemon("--protocol", protocol),
        "server": network.server.start_daemon,
    }
    with earlier_daemons(older):
        starts.pop(side)()
    (start,) = starts.values()
    start()
    capture = network.client.capture()
    for resumed in (False, True):
        with dialogue(network) as client:
            assert exchange(client, DATA) == DATA
            ours = network.server if side == "client" else network.client
            assert suite(ours) == ("ECDHE-Curve25519/AES-128-GCM", False, resumed)
    capture.stop()
    assert_encrypted(capture, "eno")


def test_it_is_required(network: Network) -> None:
    """A server that may not agree on it is not connected to."""
    network.client.start_daemon("--protocol", "eno", "--require-post-quantum", network.server.ipv4)
    daemon = network.server.start_daemon("--suites", "ECDHE-Curve25519")
    capture = network.client.capture()
    with pytest.raises(OSError), dialogue(network) as client:  # noqa: PT011
        exchange(client, DATA)
    daemon.stop()
    network.server.start_daemon()
    assert talk(network)[1]
    capture.stop()
    assert not capture.contains(MARKER)
