"""The JSON document of a run, with all that is needed to compare it with others."""

import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from bench.report import Comparison, Quantity

PACKAGES = ("tcpcryptd", "cryptography", "NetfilterQueue", "numpy")
PROGRAMS = {
    "iperf3": ("iperf3", "--version"),
    "stunnel": ("stunnel", "-version"),
    "ssh": ("ssh", "-V"),
    "wireguard-go": ("wireguard-go", "--version"),
}
NOT_INSTALLED = "not installed"


@dataclass(frozen=True)
class Document:
    """What is written to bench/results/; `skipped` and `failed` have the reasons by variant."""

    time: str
    machine: dict[str, Any]
    versions: dict[str, str]
    parameters: dict[str, Any]
    results: list[dict[str, Any]]
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def write(self, to: Path) -> Path:
        """Writes to a file, or under the time's name into a directory; returns the file."""
        file = to / f"{self.time.replace(':', '').replace('-', '')}.json" if to.is_dir() else to
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")
        return file

    @classmethod
    def read(cls, file: Path) -> Self:
        """What `write` wrote; raises ValueError or TypeError for anything else."""
        return cls(**json.loads(file.read_text()))

    def comparisons(self) -> list[Comparison]:
        """The figures."""
        return [
            Comparison(
                Quantity(entry["name"], entry["unit"], entry["higher_is_better"], entry.get("counted", "")),
                entry["figures"],
            )
            for entry in self.results
        ]


def document(
    comparisons: list[Comparison],
    parameters: Mapping[str, int],
    load: float,
    *,
    skipped: Mapping[str, str],
    failed: Mapping[str, str],
) -> Document:
    """The comparisons as they are now, on this machine.

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
            **{name: program_version(command) for name, command in PROGRAMS.items()},
        },
        parameters=dict(parameters),
        results=[result(comparison) for comparison in comparisons],
        skipped=dict(skipped),
        failed=dict(failed),
    )


def result(comparison: Comparison) -> dict[str, Any]:
    """One quantity's entry: its description, all figures, and the median ratio to plain TCP where there is one."""
    ratios = {variant: comparison.ratios(variant) for variant in comparison.figures}
    return {
        **asdict(comparison.quantity),
        "figures": comparison.figures,
        "median_ratio": {variant: statistics.median(each) for variant, each in ratios.items() if each},
    }


def program_version(command: tuple[str, ...]) -> str:
    """The first line with a version number that a program prints."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return NOT_INSTALLED
    lines = (done.stdout + done.stderr).splitlines()
    return next((line.strip() for line in lines if re.search(r"\d\.\d", line)), "unknown")


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
        return NOT_INSTALLED
