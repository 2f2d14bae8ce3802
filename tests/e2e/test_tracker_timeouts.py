"""The mark of an encrypted connection that is idle lives as long as the connection may."""

from tests.e2e.harness import MARKER, Network, dialogue, exchange


def test_the_mark_of_an_idle_connection_is_kept_for_hours(encrypted: Network) -> None:
    with dialogue(encrypted, port=7000) as client:
        assert exchange(client, MARKER * 10) == MARKER * 10
        for host in encrypted.hosts():
            (entry,) = host.run(["conntrack", "-L", "-p", "tcp", "--dport", "7000"]).stdout.splitlines()
            # Seconds until the tracker forgets the entry and its mark: 300, by nf_conntrack_tcp_timeout_unacknowledged.
            assert int(entry.split()[2]) > 7_000, entry
