"""Figures of several rounds, side by side, as a table."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

REFERENCE = "plain"
"""The variant by which the others are divided."""


@dataclass(frozen=True)
class Quantity:
    """What is measured; `counted` says what is in it where the name does not."""

    name: str
    unit: str
    higher_is_better: bool = False
    counted: str = ""


@dataclass
class Comparison:
    """One quantity, one figure of each variant per round."""

    quantity: Quantity
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, variant: str, figure: float) -> None:
        """Adds a variant's figure of one round."""
        self.figures.setdefault(variant, []).append(figure)

    def ratios(self, variant: str, reference: str = REFERENCE) -> list[float]:
        """The variant divided by another, plain TCP, round by round; empty where that has no such figures.

        A variant that failed in one round has none of later rounds.
        """
        pairs = zip(self.figures[variant], self.figures.get(reference, []), strict=False)
        return [figure / other for figure, other in pairs]


def spread(figures: list[float]) -> str:
    """Median, and the lowest and highest in brackets; a single figure as it is, and a dash for none."""
    if len(figures) < 2:
        return _short(figures[0]) if figures else "-"
    return f"{_short(statistics.median(figures))} ({_short(min(figures))} to {_short(max(figures))})"


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def table(comparisons: list[Comparison]) -> str:
    """The comparisons as lines of text: median (lowest to highest), and what is counted below."""
    header = ["", "unit", "", "median (lowest to highest)", "ratio to plain"]
    rows = [
        [
            c.quantity.name,
            f"{c.quantity.unit}, {'higher' if c.quantity.higher_is_better else 'lower'} is better",
            variant,
            spread(c.figures[variant]),
            spread(c.ratios(variant)),
        ]
        for c in comparisons
        for variant in c.figures
    ]
    lines = _aligned(header, rows)
    counted = [f"{c.quantity.name}: {c.quantity.counted}." for c in comparisons if c.quantity.counted]
    return "\n".join([*lines, *([""] if counted else []), *counted])


def against(comparisons: list[Comparison], reference: Callable[[str], str]) -> str:
    """The variants divided by what `reference` names for each, as lines of text; those without it are left out."""
    rows = [
        [
            c.quantity.name,
            "higher" if c.quantity.higher_is_better else "lower",
            variant,
            reference(variant),
            spread(ratios),
        ]
        for c in comparisons
        for variant in c.figures
        if (ratios := c.ratios(variant, reference(variant)))
    ]
    return "\n".join(_aligned(["", "better", "", "divided by", "ratio (lowest to highest)"], rows))


def _aligned(header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]


def notes(skipped: Mapping[str, str], failed: Mapping[str, str]) -> list[str]:
    """Lines about the variants without all their figures, by name with the reason."""
    return [
        *(f"{variant}: skipped. {reason}" for variant, reason in skipped.items()),
        *(f"{variant}: FAILED, and left out from there on. {reason}" for variant, reason in failed.items()),
    ]
