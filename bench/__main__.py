"""`python -m bench`: measures, prints a table and writes bench/results/TIME.json."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench.measure import Setup, short_connections, throughput
from bench.report import Comparison, document, table
from tests.e2e.harness import Network, dialogue, echo_server, pair, same_session

BUSY = 0.5
RESULTS = Path(__file__).parent / "results"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Encrypted against plain TCP, MTU 1500, as a ratio.")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each kind, in turn (default: 5)")
    parser.add_argument("--seconds", type=int, default=5, help="length of a throughput measurement (default: 5)")
    parser.add_argument("--connections", type=int, default=500, help="short connections per round (default: 500)")
    parser.add_argument("--output", type=Path, help="where to write the JSON document")
    return parser.parse_args()


def check_encrypted(network: Network) -> None:
    """Raises unless both daemons list the same session: an encrypted figure must not be a plain one."""
    with dialogue(network, echo_server) as client:
        same_session(network, client)


def compare(setup: Setup, rounds: int) -> list[Comparison]:
    bulk = Comparison("bulk, one stream", "Mbit/s", higher_is_better=True)
    short = Comparison("short connection", "ms", higher_is_better=False)
    # In turn, so that a change in the machine's load meets both kinds.
    for _ in range(rounds):
        bulk.add(plain=throughput(setup.plain, setup.seconds), encrypted=throughput(setup.encrypted, setup.seconds))
        short.add(
            plain=short_connections(setup.plain, setup.connections),
            encrypted=short_connections(setup.encrypted, setup.connections),
        )
    return [bulk, short]


def main() -> int:
    arguments = parse_arguments()
    if os.geteuid() != 0:
        print("bench: network namespaces need root: use `make bench`", file=sys.stderr)
        return 3
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="tcpcryptd-bench-") as name,
        pair(Path(name) / "plain") as plain,
        pair(Path(name) / "encrypted") as encrypted,
    ):
        Path(name).chmod(0o755)
        for host in encrypted.hosts():
            host.start_daemon()
        check_encrypted(encrypted)
        setup = Setup(plain, encrypted, arguments.seconds, arguments.connections)
        comparisons = compare(setup, arguments.rounds)
        check_encrypted(encrypted)
    print(table(comparisons))
    if load > BUSY:
        print(f"\nThe machine was busy before the run (load average {load:.1f}): do not rely on these figures.")
    written = document(comparisons, vars(arguments), load).write(arguments.output or RESULTS)
    print(f"\n{written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
