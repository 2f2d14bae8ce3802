"""A running variant: two hosts, and the address at which the client reaches the server's services."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.harness import HarnessError, Network, echo_server, exchange, serve
from tests.e2e.harness.process import run

IPERF_PORT = 5201
ECHO_PORT = 7000
WEB_PORT = 8080
REDIS_PORT = 6379
SERVICE_PORTS = (IPERF_PORT, ECHO_PORT, WEB_PORT, REDIS_PORT)
"""What a tunnel has to carry: at `Route.address` the client finds these ports, and the server listens on them."""

LOG_TAIL_LINES = 5


class Unavailable(Exception):
    """The variant cannot run on this machine; the message says what is missing."""


def _nothing_to_verify() -> None:
    pass


@dataclass(frozen=True)
class Route:
    """From the client host to the server host by way of one variant.

    `verify` raises when connections do not go by that way; it can be called at any time between measurements.
    """

    network: Network
    address: str
    verify: Callable[[], None] = _nothing_to_verify

    def processes(self) -> list[int]:
        """Process IDs of everything that runs on both hosts: daemons or tunnel ends, and none for plain TCP."""
        listed = (run(["ip", "netns", "pids", host.namespace.name]).stdout for host in self.network.hosts())
        return [int(pid) for lines in listed for pid in lines.split()]

    def server_processes(self) -> list[int]:
        """Those on the server's host."""
        return [int(pid) for pid in run(["ip", "netns", "pids", self.network.server.namespace.name]).stdout.split()]

    def try_out(self, connections: int = 1) -> None:
        """Opens connections one after the other, with an echo on each; raises when one does not come through."""
        with serve(self.network.server.listen(ECHO_PORT), echo_server):
            for _ in range(connections):
                with self.network.client.connect(self.address, ECHO_PORT) as client:
                    message = os.urandom(100)
                    if exchange(client, message) != message:
                        raise HarnessError("the echo differs")


def log_tails(network: Network) -> str:
    """The last lines of all logs on both hosts, for the report of a failure."""
    files = [file for host in network.hosts() for file in sorted(host.directory.glob("*.log"))]
    tails = {file: file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:] for file in files}
    return "\n".join(f"  {file.parent.name}/{file.name}: {line}" for file, lines in tails.items() for line in lines)
