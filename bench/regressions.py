"""This run against an earlier one."""

import statistics
from dataclasses import dataclass
from pathlib import Path

from bench.document import Document
from bench.report import REFERENCE, Comparison, Quantity, spread

TOLERANCE = 0.05
"""Part of the earlier median by which figures differ without being worse, however narrow the spreads are."""

MINIMUM_ROUNDS = 3
"""Fewer figures than these have no spread to speak of."""

SAME_MACHINE = ("processor", "processors", "memory_bytes")


@dataclass(frozen=True)
class Regression:
    """A variant's figures of one quantity that are worse than before, beyond the spread of both runs."""

    quantity: Quantity
    variant: str
    before: list[float]
    now: list[float]

    def __str__(self) -> str:
        """As a line of the report."""
        change = statistics.median(self.now) / statistics.median(self.before) - 1
        return (
            f"{self.quantity.name}, {self.variant}: {spread(self.now)} {self.quantity.unit}, "
            f"before {spread(self.before)} ({change:+.0%})"
        )


def last_document(directory: Path, now: Document) -> tuple[Path, Document] | None:
    """The latest run in the directory before this one, on a machine like its; None when there is none."""
    # Names are times, so that their order is that of the runs.
    for file in sorted(directory.glob("*.json"), reverse=True):
        document = Document.read(file)
        if document.time < now.time and all(document.machine.get(key) == now.machine.get(key) for key in SAME_MACHINE):
            return file, document
    return None


def other_parameters(now: Document, before: Document) -> list[str]:
    """The parameters, rounds excepted, in which two runs differ: their figures are not to be compared then."""
    return sorted(
        name
        for name, value in now.parameters.items()
        if name != "rounds" and before.parameters.get(name, value) != value
    )


def worse(now: list[float], before: list[float], *, higher_is_better: bool) -> bool:
    """True when each median is beyond all figures of the other run, on the wrong side and by more than TOLERANCE."""
    if min(len(now), len(before)) < MINIMUM_ROUNDS:
        return False
    if higher_is_better:
        now, before = [-figure for figure in now], [-figure for figure in before]
    median_now, median_before = statistics.median(now), statistics.median(before)
    return (
        median_now > max(before)
        and median_before < min(now)
        and median_now - median_before > TOLERANCE * abs(median_before)
    )


def in_both(now: list[Comparison], before: list[Comparison]) -> list[tuple[Comparison, Comparison, str]]:
    """What can be compared: a quantity in this run and in the earlier one, and a variant with figures in both.

    Plain TCP's own figures are left out: they tell how fast the machine was.
    """
    earlier = {comparison.quantity.name: comparison for comparison in before}
    pairs = ((each, earlier[each.quantity.name]) for each in now if each.quantity.name in earlier)
    return [
        (new, old, variant)
        for new, old in pairs
        for variant in new.figures
        if variant != REFERENCE and variant in old.figures
    ]


def regressions(now: list[Comparison], before: list[Comparison]) -> list[Regression]:
    """What got worse, of the figures that both runs have.

    Where there is a ratio to plain TCP it has to be worse as well, since the machine itself is not always equally fast.
    """
    return [
        Regression(new.quantity, variant, old.figures[variant], new.figures[variant])
        for new, old, variant in in_both(now, before)
        if _regressed(new, old, variant)
    ]


def _regressed(now: Comparison, before: Comparison, variant: str) -> bool:
    higher = now.quantity.higher_is_better
    ratios = now.ratios(variant), before.ratios(variant)
    return worse(now.figures[variant], before.figures[variant], higher_is_better=higher) and (
        not all(ratios) or worse(*ratios, higher_is_better=higher)
    )


def missing(now: list[Comparison], before: list[Comparison]) -> list[str]:
    """The figures of the earlier run that this one lacks, as "quantity, variant"."""
    have = {(comparison.quantity.name, variant) for comparison in now for variant in comparison.figures}
    had = [(comparison.quantity.name, variant) for comparison in before for variant in comparison.figures]
    return [f"{name}, {variant}" for name, variant in had if (name, variant) not in have]
