"""A router that encrypts for others, and whose kernel forwards what is in a flowtable past all rules."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import FAMILIES, MARKER, Host, Network, dialogue, exchange, wait_until
from tests.e2e.test_gateway import both_wires, router_of, start, the_session

RULES = """
table {family} shortcut {{
    flowtable quick {{ hook ingress priority 0; devices = {{ eth0, eth1 }}; }}
    chain forward {{ type filter hook forward priority {priority}; meta l4proto tcp flow add @quick; }}
}}
"""
OFFLOADED = "[OFFLOAD]"
TIMES = 5

Load = Callable[[str, str], None]


@pytest.fixture
def load(path: Network, directory: Path) -> Load:
    """Loads a flowtable on the router; skips where its kernel has none."""
    router = router_of(path)

    def load(family: str = "inet", priority: str = "filter") -> None:
        file = directory / "flowtable.nft"
        file.write_text(RULES.format(family=family, priority=priority))
        done = router.run(["nft", "-f", str(file)], check=False)
        if "No such file or directory" in done.stderr or "not supported" in done.stderr:
            pytest.skip("the kernel has no flowtables")
        assert done.returncode == 0, done.stderr

    load()
    router.run(["nft", "delete", "table", "inet", "shortcut"])
    return load


def tracked(router: Host, family: int = socket.AF_INET) -> str:
    return router.run(["conntrack", "-L", "-f", "ipv6" if family == socket.AF_INET6 else "ipv4", "-p", "tcp"]).stdout


@pytest.mark.parametrize(
    ("family", "protocol", "translated", "rules"),
    [
        (socket.AF_INET, "crypt", True, "inet"),
        (socket.AF_INET, "eno", False, "ip"),
        (socket.AF_INET6, "eno", True, "inet"),
        (socket.AF_INET6, "crypt", False, "ip6"),
    ],
)
def test_encrypted_connections_stay_out_of_flowtables(
    path: Network, load: Load, family: int, protocol: str, translated: bool, rules: str
) -> None:
    """Of one that was loaded before, also before our rules, and of one that is loaded while connections are open."""
    router = router_of(path)
    load(rules, "raw")
    start(path, "--protocol", protocol, translated=translated)
    with both_wires(path) as (inside, outside), dialogue(path, family=family) as client:
        for _ in range(TIMES):
            assert exchange(client, MARKER * 100) == MARKER * 100
        the_session(path)
        assert OFFLOADED not in tracked(router, family)
        router.run(["nft", "delete", "table", rules, "shortcut"])
        load(rules, "filter")
        for _ in range(TIMES):
            assert exchange(client, MARKER * 100) == MARKER * 100
        assert OFFLOADED not in tracked(router, family)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        wait_until(lambda: "TIME_WAIT" in tracked(router, family), "tracking knows that it is over")
    assert inside.contains(MARKER)
    assert not outside.contains(MARKER)


@FAMILIES
def test_plain_connections_are_offloaded_as_without_a_daemon(path: Network, load: Load, family: int) -> None:
    load("inet", "filter")
    router = router_of(path)
    router.start_daemon("--forward", "eth0")
    with dialogue(path, family=family) as client:
        for _ in range(TIMES):
            assert exchange(client, MARKER) == MARKER
        assert OFFLOADED in tracked(router, family)


def test_half_closed_connections(path: Network, load: Load) -> None:
    """Tracking sees the ends of an encrypted connection as it would have seen them."""
    load("inet", "filter")
    start(path)
    router = router_of(path)

    def answer_the_end(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass
        connection.sendall(MARKER)

    with dialogue(path, answer_the_end) as client:
        client.sendall(MARKER)
        the_session(path)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(len(MARKER)) == MARKER
        assert OFFLOADED not in tracked(router)
