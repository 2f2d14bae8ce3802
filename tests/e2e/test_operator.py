"""What an operator sees and sets: tcnetstat, suites, sessions that are resumed or not."""

from typing import Any

import pytest

from tests.e2e.harness import MARKER, Host, Network, dialogue, exchange, same_session
from tests.e2e.harness.daemon import entry_point
from tests.e2e.harness.users import NOBODY

ORIGINAL_SUITE = "RSA-2048/AES128-CTR-SEQIV/HMAC-SHA1"


def start(network: Network, *options: str) -> None:
    for host in network.hosts():
        host.start_daemon(*options)


def converse(network: Network) -> dict[str, Any]:
    """A connection; what tcnetstat on the client says of it."""
    with dialogue(network) as client:
        assert exchange(client, MARKER) == MARKER
        same_session(network, client)
        port = client.getsockname()[1]
        # Connections that have ended are still listed for a while.
        (row,) = (row for row in network.client.report() if row["local"]["port"] == port)
    return row


def test_tcnetstat_tells_all(encrypted: Network) -> None:
    with dialogue(encrypted) as client:
        assert exchange(client, MARKER * 10) == MARKER * 10
        session = same_session(encrypted, client)
        lines = encrypted.client.tcnetstat("--long", "--all").stdout.splitlines()
        (row,) = encrypted.client.report()
    assert lines[0].startswith("Local address")
    assert session in lines[1]
    size = str(len(MARKER) * 10)
    fields = lines[1].split()
    assert fields[3:8] == [row["suite"], "client", "no", "yes" if row["post_quantum"] else "no", "no"]
    assert fields[9:] == [size, size, "root", "-", "-", "encrypted", "-"]
    assert (row["owner"], row["role"], row["resumed"]) == (0, "client", False)


def test_tcnetstat_tells_why_a_connection_is_plain(network: Network) -> None:
    network.client.start_daemon()
    with dialogue(network) as client:
        assert exchange(client, MARKER) == MARKER
        (row,) = network.client.report("--all")
        assert row["state"] == "plain"
        assert row["owner"] == 0
        assert row["reason"] in network.client.tcnetstat("--all").stdout


def test_keys_are_replaced_on_request(encrypted: Network) -> None:
    with dialogue(encrypted) as client:
        assert exchange(client, MARKER) == MARKER
        session = same_session(encrypted, client)
        ends = [f"{address}:{port}" for address, port in (client.getsockname(), client.getpeername())]
        refused = encrypted.client.run([*NOBODY, *entry_point("tcnetstat"), "--rekey", *ends], check=False)
        assert refused.returncode == 1
        assert "another user" in refused.stderr
        capture = encrypted.client.capture()
        assert encrypted.client.tcnetstat("--rekey", *ends).returncode == 0
        assert exchange(client, MARKER * 1000) == MARKER * 1000
        assert same_session(encrypted, client) == session
        capture.stop()
    # The suboption REKEY has its opcode after kind and length.
    assert any(b"\x45\x08\x83" in segment.options for segment in capture.segments())
    assert not capture.contains(MARKER)


def test_suites_of_one_side_decide(network: Network) -> None:
    network.client.start_daemon("--suites", "RSA-2048", "--suites", "AES128-CTR-SEQIV/HMAC-SHA1")
    network.server.start_daemon()
    assert converse(network)["suite"] == ORIGINAL_SUITE


@pytest.mark.parametrize(
    ("client", "server"),
    [("X25519-HPKE", "RSA-2048"), ("RSA-2048", "X25519-HPKE"), ("AES-SIV-CMAC-256", "AES128-CTR-SEQIV/HMAC-SHA1")],
)
def test_nothing_below_what_is_configured(network: Network, client: str, server: str) -> None:
    network.client.start_daemon("--suites", client)
    network.server.start_daemon("--suites", server)
    with dialogue(network) as connection:
        assert exchange(connection, MARKER) == MARKER
        assert network.client.sessions() == network.server.sessions() == []
        (row,) = network.client.report("--all")
        assert row["state"] == "plain"
        assert row["reason"]


def test_sessions_are_resumed(encrypted: Network) -> None:
    assert [converse(encrypted)["resumed"] for _ in range(2)] == [False, True]


@pytest.mark.parametrize("side", ["client", "server"])
def test_no_cache(network: Network, side: str) -> None:
    for host in network.hosts():
        host.start_daemon(*(["--no-cache"] if host is getattr(network, side) else []))
    assert [converse(network)["resumed"] for _ in range(2)] == [False, False]


def flush(host: Host, *user: str) -> tuple[int, str]:
    done = host.run([*user, *entry_point("tcpcryptd"), "--flush-cache"], check=False)
    return done.returncode, done.stderr


def test_flushing_the_cache(encrypted: Network) -> None:
    converse(encrypted)
    code, message = flush(encrypted.client, *NOBODY)
    assert code == 3
    assert "root" in message
    code, message = flush(encrypted.client)
    assert code == 0
    assert "1 sessions forgotten" in message
    assert not converse(encrypted)["resumed"]


def test_flushing_without_a_daemon(host: Host) -> None:
    code, message = flush(host)
    assert code == 1
    assert "not running" in message
