"""`make test-distributions`, as root: see docs/distributions.md."""

import argparse
import datetime
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.harness.namespace import ROOT

SUITES = ("bookworm", "trixie", "sid")
PREPARATION = ("clone", "run", "setup")
"""`run` first, since it is what a newcomer types, and the others install more."""
VERSIONS = "versions"
TARGETS = (*("demo", "lint", "compiled", "deb", "package", "machine-compiled", "e2e", "test-packages", "unit"),)
E2E = "tests/e2e/test_transfer.py tests/e2e/test_lifecycle.py tests/e2e/test_operator.py tests/e2e/test_doctor.py"
"""What needs privileges, other users and tools of the system; all take an hour or more."""
MIRROR = "http://deb.debian.org/debian"
DIRECTORY = ROOT / "build/distributions"
DOCUMENT = ROOT / "docs/distributions.md"
HEADING = "## Last result\n"
_COUNTS = re.compile(r"^(?:=+ )?(\d+ (?:passed|failed|error).*?) in [\d.]+s", re.MULTILINE)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options; their defaults come from the environment as `make` has it."""

    def words(name: str, default: tuple[str, ...]) -> list[str]:
        return (os.environ.get(name) or " ".join(default)).split()

    parser = argparse.ArgumentParser(prog="make test-distributions", description=__doc__)
    parser.add_argument("--suites", nargs="+", default=words("SUITES", SUITES))
    parser.add_argument("--targets", nargs="+", default=words("TARGETS", TARGETS), help="of make, and `package`")
    parser.add_argument("--mirror", default=os.environ.get("MIRROR") or MIRROR, help="(default: %(default)s)")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    sys.stdout.write(f"test-distributions: {text}\n")
    sys.stdout.flush()


def base(suite: str, mirror: str) -> Path:
    """The suite's smallest system; made anew when it is not there."""
    directory, unfinished = DIRECTORY / suite, DIRECTORY / f"{suite}.unfinished"
    if not directory.exists():
        say(f"making {directory}")
        subprocess.run(["rm", "-rf", str(unfinished)], check=True)
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, str(unfinished), mirror]
        with (DIRECTORY / f"{suite}.log").open("w") as log:
            subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True)
        unfinished.rename(directory)
    return directory


def try_suite(suite: str, targets: list[str], mirror: str) -> bool:
    """Runs the targets on a copy of the suite's system that is thrown away; whether all passed."""
    output = DIRECTORY / "results" / suite
    subprocess.run(["rm", "-rf", str(output)], check=True)
    output.mkdir(parents=True)
    (output / "revision").write_text(revision())
    script = Path(__file__).with_name("chroot.sh")
    places = [str(base(suite, mirror)), str(DIRECTORY / f"{suite}.work"), str(output), str(ROOT)]
    environment = {"E2E": E2E} | os.environ
    subprocess.run(
        ["sh", str(script), *places, " ".join((*PREPARATION, *targets, VERSIONS))], env=environment, check=False
    )
    results = list(read(output))
    for name, status, seconds in results:
        say(f"{suite}: {name}: {said(output, name, status)}, {seconds} s")
    return len(results) == len(PREPARATION) + len(targets) + 1 and not any(status for _, status, _ in results)


def revision() -> str:
    """The commit that is tried: what is not committed is not."""
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def read(output: Path) -> Iterator[tuple[str, int, int]]:
    """Targets, exit codes and seconds."""
    for line in (output / "results").read_text().splitlines():
        name, status, seconds = line.split("\t")
        yield name, int(status), int(seconds)


def said(output: Path, name: str, status: int) -> str:
    """What came of a target."""
    counts = _COUNTS.findall((output / f"{name}.log").read_text(errors="replace"))
    return ", ".join(["passed" if status == 0 else f"exit code {status}", *counts[-1:]])


def table() -> str:
    """The last results of all suites, in Markdown."""
    suites = [each for each in SUITES if (DIRECTORY / "results" / each / "results").exists()]
    columns: dict[str, dict[str, str]] = {}
    for suite in suites:
        output = DIRECTORY / "results" / suite
        day = datetime.date.fromtimestamp((output / "results").stat().st_mtime)  # noqa: DTZ012  (as people here count)
        columns[suite] = {"revision": f"{(output / 'revision').read_text()}, {day}"}
        versions = output / f"{VERSIONS}.log"
        if versions.exists():
            columns[suite] |= dict(line.split(": ", 1) for line in versions.read_text().splitlines())
        for name, status, seconds in read(output):
            if name != VERSIONS:
                columns[suite][f"`{name}`"] = f"{said(output, name, status)}; {seconds} s"
    rows = dict.fromkeys(key for column in columns.values() for key in column)
    lines = [f"| | {' | '.join(suites)} |", f"|---|{'---|' * len(suites)}"]
    lines += [f"| {row} | {' | '.join(columns[suite].get(row, 'not run') for suite in suites)} |" for row in rows]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    options = parse(arguments)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    good = [try_suite(suite, options.targets, options.mirror) for suite in options.suites]
    before, heading, _ = DOCUMENT.read_text().partition(HEADING)
    DOCUMENT.write_text(f"{before}{heading}\n{table()}")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
