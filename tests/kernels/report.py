"""What the tests said on each kernel, as a table."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tests.kernels.packages import Kernel


@dataclass
class Result:
    """The tests of one boot; `failed` names each, `skipped` says how many for which reason."""

    kernel: Kernel
    variant: str
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        """Whether something passed and nothing failed."""
        return self.passed > 0 and not self.failed

    def read(self, file: Path) -> None:
        """Adds what pytest wrote (--junit-xml)."""
        for case in ElementTree.parse(file).iter("testcase"):  # noqa: S314 (pytest's own)
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed.append(f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}")
            elif skipped is not None:
                self.skipped[skipped.get("message", "no reason given")] += 1
            else:
                self.passed += 1

    def row(self) -> str:
        """A line of the table."""
        skipped = "; ".join(f"{count}: {reason}" for reason, count in self.skipped.items())
        failed = ", ".join(self.failed) or "none"
        return f"| {self.kernel.release} | {self.variant} | {self.passed} | {skipped or 'none'} | {failed} |"


def table(results: list[Result]) -> str:
    """All results, and the packages with their checksums, in Markdown."""
    lines = ["| kernel | rules | passed | skipped, and why | failed |", "|---|---|---|---|---|"]
    lines += [each.row() for each in results]
    lines += ["", "| package | version | SHA-256 |", "|---|---|---|"]
    packages = {each.name: each for result in results for each in result.kernel.packages}
    lines += [f"| {each.name} | {each.version} | {each.sha256} |" for each in packages.values()]
    return "\n".join(lines) + "\n"
