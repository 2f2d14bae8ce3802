"""`python -m bench.load`: many connections at once, and many new ones a second, through daemons on both hosts.

Not part of `python -m bench`: what is looked at is whether everything goes on, and in how much memory, not how fast.
One connection is open all the while and has an echo every tenth of a second.
"""

import argparse
import contextlib
import json
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any, cast

from bench.__main__ import prepare
from bench.route import Route
from bench.usage import growth, memory_bytes
from bench.variants import PLAIN, VARIANTS
from tcpcryptd.control.client import ControlClient
from tests.e2e.harness import Network, dialogue, echo_server, exchange, pair
from tests.e2e.harness.process import end, wait_until

PORTS = [*map(str, range(7100, 7108))]
"""Several, because a client has some 28,000 ports for each."""
ENDS = [sys.executable, "-P", str(Path(__file__).with_name("load_ends.py"))]
COUNTERS = ("connections", "negotiated", "plain", "expired", "table_full", "queue_dropped", "internal_errors")
SETTLE_SECONDS = 400.0
_MEBIBYTE = 1 << 20
_PING_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="bench.load", description=__doc__.split("\n", 1)[0])
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--only", action="append", choices=names, help="only this variant; may be repeated")
    parser.add_argument("--hold", type=int, default=10_000, metavar="N", help="connections at once (0: none)")
    parser.add_argument("--rate", type=float, default=2_000, metavar="N", help="new connections a second (0: none)")
    parser.add_argument("--seconds", type=float, default=60, help="of new connections")
    given = parser.parse_args(arguments)
    prepare()
    for variant in VARIANTS:
        if variant.name not in (given.only or [PLAIN.name, "crypt", "eno"]):
            continue
        with tempfile.TemporaryDirectory(prefix="tcpcryptd-load-") as name:
            Path(name).chmod(0o755)
            with pair(Path(name)) as network:
                route = variant.start(network)
                result = {"variant": variant.name} | load(route, given.hold, given.rate, given.seconds)
                print(json.dumps(result, indent=1), flush=True)
    return 0


def load(route: Route, held: int, rate: float, seconds: float) -> dict[str, Any]:
    """Both loads; what came of them, by name."""
    network = route.network
    result: dict[str, Any] = {}
    with ExitStack() as stack:
        # For what the first connections make a process load.
        route.try_out(20)
        # All processes of the daemons, and none of the load's.
        before = memory_bytes(route.processes())
        server = network.server.namespace.spawn([*ENDS, "server", *PORTS], log=network.server.directory / "load.log")
        stack.callback(end, server)
        for port in PORTS:
            network.server.wait_listening(int(port))
        established = stack.enter_context(dialogue(network, echo_server))
        pings: list[float] = []

        def ping() -> None:
            began = time.monotonic()
            exchange(established, b"still here")
            pings.append(time.monotonic() - began)

        if held:
            result["hold"] = _hold(route, held, before, ping)
            pings.clear()
        if rate:
            result["rate"] = _rate(route, rate, seconds, before, ping)
        result["established"] = {"echoes": len(pings), "longest": max(pings, default=0.0)}

        def settled() -> bool:
            ping()
            return max(_known(network), default=0) <= 1

        wait_until(settled, "the daemons forget what is over", SETTLE_SECONDS)
        result["growth afterwards, MiB"] = growth(before, memory_bytes(before)) / _MEBIBYTE
        result["counters"] = [{name: each[name] for name in COUNTERS if name in each} for each in _counters(network)]
    return result


def _hold(route: Route, count: int, before: dict[int, int], ping: Callable[[], None]) -> dict[str, Any]:
    with _client(route, "hold", route.address, str(count), *PORTS) as client:
        opened = _report(client, ping)
        # It has the idle connections now, and uses them again after a signal.
        grown = growth(before, memory_bytes(before))
        known = _known(route.network)
        client.send_signal(signal.SIGUSR1)
        again = _report(client, ping)
    return {
        "opened": opened,
        "used again": again,
        "connections that each daemon knows": known,
        "growth, MiB": grown / _MEBIBYTE,
        "growth per connection and daemon, KiB": grown / count / 2048,
    }


def _rate(
    route: Route, rate: float, seconds: float, before: dict[int, int], ping: Callable[[], None]
) -> dict[str, Any]:
    with _client(route, "rate", route.address, str(rate), str(seconds), *PORTS) as client:
        largest = 0

        def look() -> None:
            nonlocal largest
            largest = max(largest, growth(before, memory_bytes(before)))
            ping()

        report = _report(client, look)
    return report | {"largest growth, MiB": largest / _MEBIBYTE}


@contextlib.contextmanager
def _client(route: Route, *arguments: str) -> Iterator[Popen[bytes]]:
    host = route.network.client
    process = host.namespace.spawn([*ENDS, *arguments], stdout=PIPE, log=host.directory / "load.log")
    try:
        yield process
    finally:
        end(process)


def _report(client: Popen[bytes], meanwhile: Callable[[], None]) -> dict[str, Any]:
    """The next line of the client's, with something done every tenth of a second until it comes."""
    reports = cast(IO[bytes], client.stdout)
    while not select.select([reports], [], [], _PING_SECONDS)[0]:
        meanwhile()
    report: dict[str, Any] = json.loads(reports.readline())
    return report


def _counters(network: Network) -> list[dict[str, int]]:
    """Of each daemon."""
    counters = []
    for host in network.hosts():
        if host.daemons:
            with ControlClient(host.namespace.run_directory / "tcpcryptd/control.sock") as client:
                counters.append(client.counters())
    return counters


def _known(network: Network) -> list[int]:
    return [each["connections"] for each in _counters(network)]


if __name__ == "__main__":
    sys.exit(main())
