"""All variants running side by side, and rounds of measurements over them."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.quantities import MEASUREMENTS, QUANTITIES, Parameters, Subject
from bench.report import REFERENCE, Comparison, Quantity
from bench.route import Route, Unavailable, log_tails
from bench.variants import Start, Variant
from tests.e2e.harness import pair


@dataclass
class Laboratory:
    """Starts variants under `directory`; what it opens ends with `stack`."""

    directory: Path
    stack: ExitStack
    subjects: dict[str, Subject] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    _comparisons: dict[Quantity, Comparison] = field(default_factory=lambda: {q: Comparison(q) for q in QUANTITIES})
    _networks: int = 0

    @property
    def comparisons(self) -> list[Comparison]:
        """The figures so far, of the quantities that have any."""
        return [comparison for comparison in self._comparisons.values() if comparison.figures]

    def start(self, variant: Variant) -> None:
        """Makes the variant a subject, or notes why not."""
        try:
            self.subjects[variant.name] = Subject(
                route=self.stack.enter_context(self._route(variant.start)),
                fresh=self.stack.enter_context(self._route(variant.start_fresh)) if variant.start_fresh else None,
                another=lambda: self._route(variant.start),
            )
        except Unavailable as reason:
            self.skipped[variant.name] = str(reason)
        except Exception as error:
            self._note_failure(variant.name, error)

    @contextmanager
    def _route(self, start: Start) -> Iterator[Route]:
        self._networks += 1
        with pair(self.directory / str(self._networks)) as network:
            try:
                yield start(network)
            except Unavailable:
                raise
            except Exception as error:
                error.add_note(log_tails(network))
                raise

    def measure(self, measurements: tuple[str, ...], parameters: Parameters) -> None:
        """All rounds: in turn, so that a change in the machine's load meets all variants."""
        for number in range(1, parameters.rounds + 1):
            for measurement in measurements:
                print(f"round {number} of {parameters.rounds}: {measurement}", file=sys.stderr)
                for variant in list(self.subjects):
                    self._measure_one(measurement, variant, parameters)
        for variant, subject in list(self.subjects.items()):
            try:
                for route in (subject.route, subject.fresh):
                    if route is not None:
                        route.verify()
            except Exception as error:
                self._note_failure(variant, error)

    def _measure_one(self, measurement: str, variant: str, parameters: Parameters) -> None:
        try:
            for quantity, figure in MEASUREMENTS[measurement](self.subjects[variant], parameters):
                self._comparisons[quantity].add(variant, figure)
        except Exception as error:
            self._note_failure(variant, error, measurement)

    def _note_failure(self, variant: str, error: Exception, measurement: str = "set-up or last check") -> None:
        # Whatever went wrong with one variant, the figures of the others are good; without plain TCP they are not.
        if variant == REFERENCE:
            raise error
        subject = self.subjects.pop(variant, None)
        tails = [log_tails(subject.route.network)] if subject else []
        notes = getattr(error, "__notes__", [])
        self.failed[variant] = "\n".join([f"{measurement}: {type(error).__name__}: {error}", *notes, *tails])
