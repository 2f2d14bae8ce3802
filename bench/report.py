"""Figures of several rounds, side by side: as a table and as a JSON document with machine and versions."""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("tcpcryptd", "cryptography", "NetfilterQueue", "numpy")


@dataclass
class Comparison:
    """One quantity, one figure of each variant per round; the first variant is what the others are compared with."""

    name: str
    unit: str
    higher_is_better: bool
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, variant: str, figure: float) -> None:
        """Adds a variant's figure of one round."""
        self.figures.setdefault(variant, []).append(figure)

    def ratios(self, variant: str) -> list[float]:
        """The variant divided by the first, round by round."""
        first = next(iter(self.figures.values()))
        return [figure / reference for reference, figure in zip(first, self.figures[variant], strict=True)]


def spread(figures: list[float]) -> str:
    """Median, and the lowest and highest in brackets."""
    return f"{_short(statistics.median(figures))} ({_short(min(figures))} to {_short(max(figures))})"


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def table(comparisons: list[Comparison]) -> str:
    """The comparisons as lines of text: median (lowest to highest)."""
    header = ["", "unit", "", "median (lowest to highest)", "ratio to plain"]
    rows = [
        [
            c.name,
            f"{c.unit}, {'higher' if c.higher_is_better else 'lower'} is better",
            variant,
            spread(c.figures[variant]),
            spread(c.ratios(variant)),
        ]
        for c in comparisons
        for variant in c.figures
    ]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    )


@dataclass(frozen=True)
class Document:
    """What is written to bench/results/."""

    time: str
    machine: dict[str, Any]
    versions: dict[str, str]
    parameters: dict[str, Any]
    results: list[dict[str, Any]]

    def write(self, to: Path) -> Path:
        """Writes to a file, or under the time's name into a directory; returns the file."""
        file = to / f"{self.time.replace(':', '').replace('-', '')}.json" if to.is_dir() else to
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")
        return file


def document(comparisons: list[Comparison], parameters: dict[str, Any], load: float) -> Document:
    """The comparisons with all that is needed to compare them with others.

    `load` is the machine's load average of the last minute before the run: others' work makes figures worthless.
    """
    return Document(
        time=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        machine={
            "processor": _processor(),
            "processors": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "kernel": platform.release(),
            "congestion_control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
            "load_average_before": load,
        },
        versions={
            "python": platform.python_version(),
            "commit": _commit(),
            **{name: _version(name) for name in PACKAGES},
        },
        parameters={name: value for name, value in parameters.items() if isinstance(value, int)},
        results=[
            {**asdict(c), "median_ratio": {variant: statistics.median(c.ratios(variant)) for variant in c.figures}}
            for c in comparisons
        ],
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
