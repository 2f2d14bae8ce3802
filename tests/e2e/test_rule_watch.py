"""Somebody removes the rules while the daemon runs."""

import contextlib
import shutil
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tcpcryptd.netio.firewall.rule_watch import CHECK_SECONDS
from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FLUSH,
    MARKER,
    Host,
    Network,
    assert_works,
    dialogue,
    echo_server,
    exchange,
    same_session,
    wait_until,
)
from tests.e2e.harness.daemon import FIREWALL, OF_IPTABLES, entry_point
from tests.e2e.harness.traffic import ENDED_HERE

WARNING = "removed or changed the firewall rules"
LEGACY_SAVERS = ("iptables-legacy-save", "ip6tables-legacy-save")
REMOVE_A_CHAIN = """iptables-restore --noflush <<END
*mangle
-D INPUT -p tcp -m mark ! --mark 0/0x70000000 -j TCPCRYPTD_SAVE_IN
-F TCPCRYPTD_SAVE_IN
-X TCPCRYPTD_SAVE_IN
COMMIT
END
"""
"""In one transaction: the daemon would come between."""
DAMAGES = {
    "flush": [FLUSH],
    "jump": [["iptables", "-t", "mangle", "-D", "OUTPUT", "-p", "tcp", "-j", "TCPCRYPTD_OUT"]],
    "chain": [["sh", "-c", REMOVE_A_CHAIN]],
    "rule": [["iptables", "-t", "mangle", "-F", "TCPCRYPTD_OUT"]],
    "table": [["nft", "delete", "table", "ip", "mangle"]],
    "IPv6": [["ip6tables", "-t", "mangle", "-F"]],
    "all": [["nft", "flush", "ruleset"]],
}
OURS = ["inet", "tcpcryptd"]
if FIREWALL == "nft":
    DAMAGES = {
        "flush": [FLUSH],
        "chain": [["nft", "flush", "chain", *OURS, "out"]],
        "rule": [["nft", "insert", "rule", *OURS, "out", "accept"]],
        "table": [["nft", "delete", "table", *OURS]],
        "sleep": [["nft", "table inet tcpcryptd { flags dormant; }"]],
        "all": [["nft", "flush", "ruleset"]],
    }


def repaired(host: Host, times: int = 1) -> bool:
    return host.counters()["rules_repaired"] >= times


def assert_new_connections_are_encrypted(network: Network, protocol: str = "crypt") -> None:
    assert_works(network, protocol)


@contextlib.contextmanager
def reset_at_both_ends(network: Network) -> Iterator[None]:
    """An encrypted connection that is reset by what happens meanwhile."""
    outcome: list[type[OSError]] = []

    def echo_until_it_fails(connection: socket.socket) -> None:
        try:
            echo_server(connection)
        except OSError as error:
            outcome.append(type(error))

    with dialogue(network, echo_until_it_fails) as client:
        assert exchange(client, MARKER) == MARKER
        same_session(network, client)
        yield
        with pytest.raises(ConnectionError):
            client.recv(1)
        wait_until(lambda: outcome, "the server sees the reset")
    assert outcome == [ConnectionResetError]


@BOTH_PROTOCOLS
@pytest.mark.parametrize("damage", DAMAGES)
def test_rules_are_put_back(encrypted: Network, protocol: str, damage: str) -> None:
    host = encrypted.client
    before = host.own_rules()
    with reset_at_both_ends(encrypted):
        for command in DAMAGES[damage]:
            host.run(command)
        wait_until(partial(repaired, host), "the rules are repaired")
    wait_until(lambda: host.own_rules() == before, "the rules are all there")
    assert_new_connections_are_encrypted(encrypted, protocol)
    wait_until(lambda: WARNING in host.daemons[0].log(), "it is said")
    assert host.daemons[0].stop() == 0
    assert not host.own_rules()


MEGABYTE = 1_000_000


def unchanged(data: bytes) -> bool:
    return data == (MARKER * (len(data) // len(MARKER) + 1))[: len(data)]


@BOTH_PROTOCOLS
@pytest.mark.parametrize("side", ["client", "server"])
def test_nobody_reads_what_is_not_deciphered(encrypted: Network, protocol: str, side: str) -> None:
    """What comes while the rules are gone is taken by the kernel, and must not reach the application."""
    received = bytearray()
    ends: list[type[OSError]] = []

    def collect(connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                received.extend(data)
        except OSError as error:
            ends.append(type(error))

    host = encrypted.client if side == "client" else encrypted.server
    with dialogue(encrypted, collect) as client:
        same_session(encrypted, client)

        def send() -> None:
            while not ends:
                client.sendall(MARKER * 1000)
                if len(received) > MEGABYTE and not flushed:
                    flushed.append(host.run(FLUSH))

        flushed: list[object] = []
        with contextlib.suppress(ConnectionError):
            send()
        wait_until(lambda: ends, "the server sees the reset")
    assert flushed
    assert len(ends) == 1
    assert ends[0] in ENDED_HERE
    assert unchanged(bytes(received))
    wait_until(partial(repaired, host), "the rules are repaired")
    assert_new_connections_are_encrypted(encrypted, protocol)


def test_plain_connections_go_on(network: Network) -> None:
    host = network.client
    host.start_daemon()
    with dialogue(network) as client:
        assert exchange(client, MARKER) == MARKER
        host.run(FLUSH)
        wait_until(partial(repaired, host), "the rules are repaired")
        assert exchange(client, MARKER) == MARKER


def test_one_warning_and_a_count_of_all(encrypted: Network) -> None:
    host = encrypted.client
    for times in range(1, 4):
        host.run(FLUSH)
        wait_until(partial(repaired, host, times), "the rules are repaired")
    assert host.daemons[0].log().count(WARNING) == 1
    assert "error" not in host.daemons[0].log()


def test_rules_of_others_do_not_matter(encrypted: Network) -> None:
    host = encrypted.client
    before = host.own_rules()
    with dialogue(encrypted) as client:
        assert exchange(client, MARKER) == MARKER
        session = same_session(encrypted, client)
        for change in ("-A", "-D"):
            host.run(["iptables", "-t", "mangle", change, "OUTPUT", "-p", "udp", "--dport", "1", "-j", "DROP"])
        assert exchange(client, MARKER) == MARKER
        assert same_session(encrypted, client) == session
    host.run(FLUSH)
    # Events come in order: what was not answered when this one was, is not answered at all.
    wait_until(partial(repaired, host), "the rules are repaired")
    wait_until(lambda: host.own_rules() == before, "the rules are all there")
    assert host.counters()["rules_repaired"] == 1


LEGACY = """
mount --bind "$(readlink -f "$(command -v iptables-legacy)")" "$(readlink -f "$(command -v iptables)")" && exec "$@"
"""
"""Puts iptables-legacy in the place of iptables, for this process and its children: `ip netns exec` gives it mounts
of its own."""


def legacy_rules(host: Host) -> list[str]:
    saved = [line for tool in LEGACY_SAVERS for line in host.run([tool, "-t", "mangle"]).stdout.splitlines()]
    return [line.split(" [")[0] for line in saved if "TCPCRYPTD" in line]


@OF_IPTABLES
@pytest.mark.parametrize("tool", ["iptables-legacy", "ip6tables-legacy"])
def test_legacy_tables(network: Network, tool: str) -> None:
    host = network.client
    host.start_wrapped_daemon(["sh", "-c", LEGACY, "legacy"])
    network.server.start_daemon()
    assert not host.own_rules()
    before = legacy_rules(host)
    assert before
    with reset_at_both_ends(network):
        host.run([tool, "-t", "mangle", "-F"])
        # Sooner than by the check that comes round.
        wait_until(partial(repaired, host), "the rules are repaired", CHECK_SECONDS / 2)
    assert legacy_rules(host) == before
    assert_new_connections_are_encrypted(network)
    assert host.daemons[0].stop() == 0
    assert not legacy_rules(host)


REPLACE = 'mount --bind "$0" "$(readlink -f "$(command -v iptables)")" && exec "$@"'
SWITCH = """#!/bin/bash
name=$(basename "$0")
case $name in *-restore) [ -e /run/broken ] && {{ echo "no more rules" >&2; exit 4; }} ;; esac
exec -a "$name" {program} "$@"
"""


@pytest.fixture
def iptables_with_a_switch(directory: Path) -> list[str]:
    """What to wrap a daemon in so that its iptables-restore fails while /run/broken is there."""
    program, switch = directory / "multi", directory / "switch"
    shutil.copy(Path(shutil.which("iptables") or "").resolve(), program)
    switch.write_text(SWITCH.format(program=program))
    for each in (program, switch):
        each.chmod(0o755)
    return ["sh", "-c", REPLACE, str(switch)]


@OF_IPTABLES
def test_rules_that_cannot_be_put_back(network: Network, iptables_with_a_switch: list[str]) -> None:
    host = network.client
    host.start_wrapped_daemon(iptables_with_a_switch)
    network.server.start_daemon()
    broken = host.namespace.run_directory / "broken"
    with reset_at_both_ends(network):
        broken.touch()
        host.run(FLUSH)
    wait_until(lambda: host.counters()["rules_not_repaired"] >= 2, "the repair is tried again")
    assert host.daemons[0].log().count("cannot be put back") == 1
    assert "no more rules" in host.daemons[0].log()
    broken.unlink()
    wait_until(partial(repaired, host), "the rules are repaired")
    assert_new_connections_are_encrypted(network)


@OF_IPTABLES
def test_another_variant_is_chosen(network: Network) -> None:
    """After a daemon that was killed: there is never a second set of rules, and none is left."""
    host = network.client
    network.server.start_daemon()
    killed = host.start_wrapped_daemon(["sh", "-c", LEGACY, "legacy"])
    killed.kill()
    assert legacy_rules(host)
    # From here on `iptables` is the nft variant again.
    daemon = host.start_daemon()
    assert not legacy_rules(host)
    assert "iptables-legacy" in daemon.log()
    assert_new_connections_are_encrypted(network)
    assert daemon.stop() == 0
    host.start_wrapped_daemon(["sh", "-c", LEGACY, "legacy"]).kill()
    assert legacy_rules(host)
    host.run([*entry_point("tcpcryptd"), "--cleanup"])
    assert not legacy_rules(host)
    assert not host.own_rules()


@OF_IPTABLES
def test_another_variant_is_chosen_while_the_daemon_runs(host: Host) -> None:
    """As an unprivileged user, the daemon does not see which tables iptables-legacy has."""
    daemon = host.start_wrapped_daemon(["sh", "-c", LEGACY, "legacy"])
    assert legacy_rules(host)
    iptables = Path(shutil.which("iptables") or "").resolve()
    # For the daemon `iptables` is the nft variant again.
    host.run(["nsenter", f"--mount=/proc/{daemon.pid}/ns/mnt", "umount", str(iptables)])
    assert daemon.stop() == 0
    assert not legacy_rules(host)
    assert "iptables-legacy" in daemon.log()
