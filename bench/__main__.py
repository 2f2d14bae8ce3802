"""`python -m bench`: measures, prints a table and writes bench/results/TIME.json."""

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.measure import short_connections, throughput
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


@dataclass(frozen=True)
class Variant:
    """How the daemons are started; no options at all stands for no daemon."""

    name: str
    options: tuple[str, ...] | None


PLAIN = Variant("plain", None)
DEFAULT = Variant("our suites", ())
ORIGINAL = Variant("the original's", ("--suites", "RSA-2048", "--suites", "AES128-CTR-SEQIV/HMAC-SHA1"))
FRESH = Variant("ours, fresh", ("--no-cache",))
ORIGINAL_FRESH = Variant("original's, fresh", (*(ORIGINAL.options or ()), "--no-cache"))
BULK = (PLAIN, DEFAULT, ORIGINAL)
SHORT = (PLAIN, DEFAULT, FRESH, ORIGINAL, ORIGINAL_FRESH)
"""With a cache all short connections but the first are resumed."""


def check_encrypted(network: Network) -> None:
    """Raises unless both daemons list the same session: an encrypted figure must not be a plain one."""
    with dialogue(network, echo_server) as client:
        same_session(network, client)


def compare(networks: dict[Variant, Network], arguments: argparse.Namespace) -> list[Comparison]:
    bulk = Comparison("bulk, one stream", "Mbit/s", higher_is_better=True)
    short = Comparison("short connection", "ms", higher_is_better=False)
    # In turn, so that a change in the machine's load meets all variants.
    for _ in range(arguments.rounds):
        for variant in BULK:
            bulk.add(variant.name, throughput(networks[variant], arguments.seconds))
        for variant in SHORT:
            short.add(variant.name, short_connections(networks[variant], arguments.connections))
    return [bulk, short]


def main() -> int:
    arguments = parse_arguments()
    if os.geteuid() != 0:
        print("bench: network namespaces need root: use `make bench`", file=sys.stderr)
        return 3
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="tcpcryptd-bench-") as name, ExitStack() as stack:
        Path(name).chmod(0o755)
        networks = {}
        for number, variant in enumerate(dict.fromkeys(BULK + SHORT)):
            networks[variant] = network = stack.enter_context(pair(Path(name) / str(number)))
            if variant.options is not None:
                for host in network.hosts():
                    host.start_daemon(*variant.options)
                check_encrypted(network)
        comparisons = compare(networks, arguments)
        for variant, network in networks.items():
            if variant.options is not None:
                check_encrypted(network)
    print(table(comparisons))
    if load > BUSY:
        print(f"\nThe machine was busy before the run (load average {load:.1f}): do not rely on these figures.")
    written = document(comparisons, vars(arguments), load).write(arguments.output or RESULTS)
    print(f"\n{written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
