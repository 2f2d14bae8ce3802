"""What Prometheus is told of a daemon at work."""

import json
import socket

from tcpcryptd.cli.metrics import METRICS
from tests.e2e.harness import MARKER, Host, Network, dialogue, exchange, same_session

SHELL = ("queue_", "undecided_", "encrypted_", "stream_", "inject", "segment", "rules_", "memory_shortages", "uptime_")


def samples(host: Host) -> dict[str, float]:
    lines = host.tcnetstat("--metrics").stdout.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def counters(host: Host) -> dict[str, int]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(host.control_socket))
        client.sendall(b'{"version": 1, "id": 1, "command": "counters"}\n')
        found: dict[str, int] = json.loads(client.makefile().readline())["result"]["counters"]
        return found


def test_an_encrypted_connection_is_counted(encrypted: Network) -> None:
    size = len(MARKER) * 1000
    with dialogue(encrypted) as client:
        assert exchange(client, MARKER * 1000) == MARKER * 1000
        same_session(encrypted, client)
        found = samples(encrypted.client)
        assert found["tcpcryptd_encrypted_connections"] == 1
        assert found['tcpcryptd_handshakes_total{outcome="encrypted"}'] == 1
        assert found['tcpcryptd_handshakes_total{outcome="plain"}'] == 0
        for direction in ("in", "out"):
            name = f'tcpcryptd_bytes_total{{class="encrypted",direction="{direction}"}}'
            assert size < found[name] < 2 * size
        assert found['tcpcryptd_segments_total{class="encrypted"}'] > 2 * size / 65_536
        spent = found['tcpcryptd_segment_seconds_total{class="encrypted"}']
        assert 0 < spent <= found["tcpcryptd_uptime_seconds"] + 1
        assert found["tcpcryptd_queue_dropped_total"] == found["tcpcryptd_internal_errors_total"] == 0
        assert found["tcpcryptd_memory_shortages_total"] == 0


def test_every_metric_of_the_shell_has_its_counter(host: Host) -> None:
    host.start_daemon()
    read = {counter for metric in METRICS for counter in metric.samples.values() if counter.startswith(SHELL)}
    assert len(read) > 20
    assert read <= counters(host).keys()


def test_a_plain_connection_is_counted(network: Network) -> None:
    network.client.start_daemon()
    with dialogue(network) as client:
        assert exchange(client, MARKER) == MARKER
    assert samples(network.client)['tcpcryptd_handshakes_total{outcome="plain"}'] == 1
