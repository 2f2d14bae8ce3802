"""One measurement of each kind over a route."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.route import ECHO_PORT, IPERF_PORT, Route
from bench.usage import children_cpu_seconds, cpu_seconds, growth, memory_bytes
from tests.e2e.harness import HarnessError
from tests.e2e.harness.process import end

SHORT_BYTES = 100
PINGPONG_BYTES = 32
ECHO_TIMEOUT_SECONDS = 60
IPERF_GRACE_SECONDS = 30
LAST_SECONDS = 10

# -P: the directory of the script is not searched for modules.
ECHO = [sys.executable, "-P", str(Path(__file__).with_name("echo.py"))]


@dataclass(frozen=True)
class Bulk:
    """A throughput measurement: bits per second received, bytes received, CPU seconds of the tunnel and of iperf3."""

    bits_per_second: float
    bytes: int
    tunnel_cpu: float
    iperf_cpu: float


@contextlib.contextmanager
def _serving(route: Route, port: int, command: list[str]) -> Iterator[None]:
    """A server process on the server host that ends by itself once it has served its clients."""
    server = route.network.server
    process = server.namespace.spawn(command, log=server.directory / "service.log")
    try:
        server.wait_listening(port)
        yield
        process.wait(LAST_SECONDS)
    finally:
        end(process)


def bulk(route: Route, streams: int, seconds: int) -> Bulk:
    """iperf3 from client to server."""
    command = ["iperf3", "--client", route.address, "--port", str(IPERF_PORT), "--json"]
    command += ["--parallel", str(streams), "--time", str(seconds)]
    tunnel_before = cpu_seconds(route.processes())
    with _serving(route, IPERF_PORT, ["iperf3", "--server", "--one-off", "--port", str(IPERF_PORT)]):
        children_before = children_cpu_seconds()
        output = route.network.client.run(command, timeout=seconds + IPERF_GRACE_SECONDS).stdout
    # Only the two iperf3 have been waited for meanwhile.
    iperf_cpu = children_cpu_seconds() - children_before
    tunnel_cpu = cpu_seconds(route.processes()) - tunnel_before
    return Bulk(*parse_received(json.loads(output)), tunnel_cpu, iperf_cpu)


def parse_received(document: dict[str, Any]) -> tuple[float, int]:
    """Bits per second and bytes that the server got, from iperf3's JSON; raises HarnessError when it got nothing."""
    received = document["end"]["sum_received"]
    if not received["bytes"]:
        raise HarnessError("iperf3: nothing was received")
    return float(received["bits_per_second"]), int(received["bytes"])


def short_connections(route: Route, count: int) -> float:
    """Seconds per connection: connect, 100 bytes there and back, close; one after another, two processes."""
    return _echo(route, "short", connections=count, count=count, size=SHORT_BYTES) / count


def round_trip(route: Route, count: int) -> float:
    """Seconds per round trip of 32 bytes on one connection, the mean of `count`."""
    return _echo(route, "pingpong", connections=1, count=count, size=PINGPONG_BYTES) / count


def _echo(route: Route, kind: str, *, connections: int, count: int, size: int) -> float:
    with _serving(route, ECHO_PORT, [*ECHO, "server", str(ECHO_PORT), str(connections), str(size)]):
        command = [*ECHO, kind, route.address, str(ECHO_PORT), str(count), str(size)]
        return float(route.network.client.run(command, timeout=ECHO_TIMEOUT_SECONDS + count / 10).stdout)


def idle_memory(route: Route, warm_up: int, count: int) -> float:
    """Bytes by which the tunnel's processes grow per connection, of `count` that are open at once and idle.

    Each has carried a byte both ways, so that all handshakes are over. `warm_up` connections are opened before the
    first look, for what a first connection makes a process load.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(route.network.server.listen(ECHO_PORT))

        def open_connections(number: int) -> None:
            for _ in range(number):
                client = stack.enter_context(route.network.client.connect(route.address, ECHO_PORT))
                accepted = stack.enter_context(listener.accept()[0])
                for sender, receiver in ((client, accepted), (accepted, client)):
                    sender.sendall(b".")
                    if receiver.recv(1) != b".":
                        raise HarnessError("a connection that was to be idle was closed")

        open_connections(warm_up)
        before = memory_bytes(route.processes())
        open_connections(count)
        return growth(before, memory_bytes(route.processes())) / count
