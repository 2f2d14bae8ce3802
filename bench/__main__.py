"""`python -m bench`: measures, prints a table, writes bench/results/TIME.json and compares with the last one there.

Exit codes: 0; 1 a variant failed; 2 wrong arguments, or not comparable; 3 not root; 4 with --check, figures are worse
than the last time.
"""

import os
import resource
import secrets
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench.arguments import RESULTS, Plan, parse_arguments
from bench.document import Document, document
from bench.laboratory import Laboratory
from bench.regressions import MINIMUM_ROUNDS, in_both, last_document, missing, other_parameters, regressions
from bench.report import against, notes, table
from bench.revision import build, is_compiled
from bench.variants import earlier, with_earlier
from tests.e2e.harness import Daemon, namespace

BUSY = 0.5
FAILED = 1
NOT_COMPARABLE = 2
NOT_ROOT = 3
REGRESSION = 4

DESCRIPTORS = 16384
"""Open files: idle connections take up to four in one process."""


def prepare() -> None:
    """Room for many connections, here and in the processes that are started; an orderly end; namespaces named bnch*."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    # Namespaces are removed on the way out.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    namespace.RUN_PREFIX = f"bnch{secrets.token_hex(3)}"
    # As it runs by itself; and earlier revisions do not know the option.
    Daemon.firewall = None


def run(plan: Plan) -> Document:
    """Starts everything, measures, and ends everything."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="tcpcryptd-bench-") as name, ExitStack() as stack:
        # The daemon's user has to reach its run directory.
        Path(name).chmod(0o755)
        variants = list(plan.variants)
        if plan.against is not None:
            beside = Path(name, "revision")
            beside.mkdir()
            variants = with_earlier(variants, plan.against, build(plan.against, beside))
        laboratory = Laboratory(Path(name), stack)
        for variant in variants:
            laboratory.start(variant)
        laboratory.measure(plan.measurements, plan.parameters)
    return document(
        laboratory.comparisons,
        asdict(plan.parameters),
        load,
        skipped=laboratory.skipped,
        failed=laboratory.failed,
    )


def compare_with_last(now: Document, *, whole: bool) -> bool:
    """Prints what is worse than in the last run, and after a whole run what is missing; True for anything worse."""
    last = last_document(RESULTS, now)
    if last is None:
        print(f"\nNo earlier run on a machine like this in {RESULTS} to compare with.")
        return False
    file, before = last
    print(f"\nCompared with {file.name} (commit {before.versions.get('commit')}):")
    different = other_parameters(now, before)
    if different:
        print(f"not compared: other {', '.join(different)}.")
        return False
    if now.parameters["rounds"] < MINIMUM_ROUNDS:
        print(f"not compared: fewer than {MINIMUM_ROUNDS} rounds.")
        return False
    gone = missing(now.comparisons(), before.comparisons())
    if gone and whole:
        print(f"not measured this time: {'; '.join(gone)}.")
    found = regressions(now.comparisons(), before.comparisons())
    for regression in found:
        print(f"WORSE {regression}")
    compared = len(in_both(now.comparisons(), before.comparisons()))
    print(f"Medians compared: {compared}, worse beyond the spread: {len(found)}.")
    return bool(found)


def main() -> int:
    plan = parse_arguments()
    if os.geteuid() != 0:
        print("bench: network namespaces need root: use `make bench`", file=sys.stderr)
        return NOT_ROOT
    if plan.against is not None and not is_compiled():
        print("bench: would compare an interpreted package with a compiled one: use `make bench`", file=sys.stderr)
        return NOT_COMPARABLE
    prepare()
    now = run(plan)
    print(table(now.comparisons()))
    if plan.against is not None:
        revision = plan.against
        print(f"\n{against(now.comparisons(), lambda name: earlier(name, revision))}")
    for note in notes(now.skipped, now.failed):
        print(f"\n{note}")
    load = now.machine["load_average_before"]
    if load > BUSY:
        print(f"\nThe machine was busy before the run (load average {load:.1f}): do not rely on these figures.")
    if plan.output is not None:
        print(f"\nWritten: {now.write(plan.output)}")
    else:
        print("\nNot written: only whole runs are, or with --output.")
    worse = compare_with_last(now, whole=plan.whole)
    if now.failed:
        return FAILED
    return REGRESSION if plan.check and worse else 0


if __name__ == "__main__":
    sys.exit(main())
