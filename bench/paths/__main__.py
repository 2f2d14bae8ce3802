"""`python -m bench.paths`: throughput, delay under load and time to the first byte over each path, against plain TCP.

All variants at once, each between hosts of its own: the rates are so low that the processor is not the limit.
Exit codes: 0; 1 something failed; 3 not root.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path as File

from bench.__main__ import FAILED, NOT_ROOT, prepare
from bench.paths.laboratory import Ends, Figures, Setup, opened
from bench.paths.path import PATHS, Path

VARIANTS = {
    "plain": Setup(None),
    "crypt": Setup(("--protocol", "crypt")),
    "eno": Setup(("--protocol", "eno")),
}
CONTROLS = ("cubic", "bbr")
SECONDS = 8.0


@dataclass(frozen=True)
class Row:
    """The figures of all variants over one path."""

    path: Path
    control: str
    figures: dict[str, Figures]

    def cells(self) -> Iterator[str]:
        """Of a line of the table, ratios to plain TCP."""
        plain = self.figures["plain"]
        yield from (self.path.name, self.control, f"{plain.megabits:.2f}", f"{plain.delay * 1000:.0f}")
        for name, figures in self.figures.items():
            if name != "plain":
                yield f"{figures.megabits / plain.megabits:.2f}" if plain.megabits else "-"
                yield f"{figures.delay / plain.delay:.2f}" if plain.delay else "-"
                yield f"{figures.fresh - plain.fresh:+.2f}, {figures.resumed - plain.resumed:+.2f}"


def header() -> Iterator[str]:
    """Of the table."""
    yield from ("path", "", "plain, Mbit/s", "delay, ms")
    for name in VARIANTS:
        if name != "plain":
            yield from (f"{name}: rate", "delay", "round trips more")


def line(cells: Iterator[str]) -> str:
    """Of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def measure(ends: dict[str, Ends], path: Path, control: str, seconds: float) -> Row:
    """All variants side by side."""
    with ThreadPoolExecutor(len(ends)) as pool:
        figures = pool.map(lambda each: each.measure(path, control, path.seconds or seconds), ends.values())
        return Row(path, control, dict(zip(ends, figures, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.paths", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each transfer")
    parser.add_argument(
        "--only", action="append", metavar="TEXT", help="paths whose name has that in it; may be repeated"
    )
    parser.add_argument("--control", choices=CONTROLS, action="append", help="congestion control; may be repeated")
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: network namespaces need root: use `make bench-paths`", file=sys.stderr)
        return NOT_ROOT
    prepare()
    paths = [path for path in PATHS if given.only is None or any(text in path.name for text in given.only)]
    failed = False
    with tempfile.TemporaryDirectory(prefix="tcpcryptd-bench-") as name, ExitStack() as stack:
        File(name).chmod(0o755)
        ends = {each: stack.enter_context(opened(setup, File(name, each))) for each, setup in VARIANTS.items()}
        print(f"{line(header())}\n{line('---' for _ in header())}", flush=True)
        for path in paths:
            for control in given.control or CONTROLS:
                try:
                    print(line(measure(ends, path, control, given.seconds).cells()), flush=True)
                except Exception as error:
                    print(f"{path.name}, {control}: {type(error).__name__}: {error}", file=sys.stderr)
                    failed = True
    return FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(main())
