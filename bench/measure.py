"""One measurement of each kind between the two hosts of a network."""

import json
import subprocess
import sys

from tests.e2e.harness import Network

IPERF_PORT = 5201
ECHO_PORT = 7000
MESSAGE_BYTES = 100


def throughput(network: Network, seconds: int) -> float:
    """Received Mbit/s of one iperf3 stream from client to server."""
    server = network.server.namespace.spawn(["iperf3", "--server", "--one-off", "--port", str(IPERF_PORT)])
    network.server.wait_listening(IPERF_PORT)
    command = ["iperf3", "--client", network.server.ipv4, "--port", str(IPERF_PORT), "--time", str(seconds), "--json"]
    result = json.loads(network.client.run(command, timeout=seconds + 30).stdout)
    server.wait(10)
    return float(result["end"]["sum_received"]["bits_per_second"]) / 1e6


def short_connections(network: Network, count: int) -> float:
    """Milliseconds per connection: connect, 100 bytes there and back, close; one after another, two processes."""
    arguments = [str(ECHO_PORT), str(count), str(MESSAGE_BYTES)]
    server = network.server.namespace.spawn([sys.executable, "-m", "bench.echo", "server", *arguments])
    network.server.wait_listening(ECHO_PORT)
    command = [sys.executable, "-m", "bench.echo", network.server.ipv4, *arguments]
    seconds = float(network.client.run(command, timeout=60 + count / 10).stdout)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
    return seconds / count * 1000
