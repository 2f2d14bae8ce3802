"""What one variant's failure does to the others. The variants are made up; nothing is started."""

from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bench import laboratory
from bench.laboratory import Laboratory
from bench.quantities import BULK, CPU, LATENCY, QUICK, Figures, Parameters, Subject
from bench.route import Route
from tests.e2e.harness import Network

ROUNDS = Parameters(rounds=3)


class Made:
    """A variant that measures 1, 2, 3 and fails in a given round, or at the last check."""

    def __init__(self, directory: Path, *, fails_in: int = 0, fails_at_last: bool = False) -> None:
        directory.mkdir()
        (directory / "daemon.log").write_text("first\nlast words\n")
        network = cast(Network, SimpleNamespace(hosts=lambda: [SimpleNamespace(directory=directory)]))
        route = Route(network, "192.0.2.1", self.verify)
        self.subject = Subject(route, None, lambda: nullcontext(route))
        self.round = 0
        self.fails_in = fails_in
        self.fails_at_last = fails_at_last

    def verify(self) -> None:
        if self.fails_at_last:
            raise AssertionError("not encrypted")

    def measure(self) -> Figures:
        self.round += 1
        if self.round == self.fails_in:
            raise TimeoutError("stalled")
        yield LATENCY, float(self.round)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    """A laboratory with no subjects; its one measurement, "latency", asks the subject."""
    made: dict[int, Made] = {}

    def measure(subject: Subject, parameters: Parameters) -> Figures:
        assert parameters in (ROUNDS, QUICK)
        return made[id(subject)].measure()

    monkeypatch.setattr(laboratory, "MEASUREMENTS", {"latency": measure})
    subjects = Laboratory(tmp_path, ExitStack())
    for name, options in {"plain": {}, "crypt": {}, "eno": {"fails_in": 2}, "ssh": {"fails_at_last": True}}.items():
        one = Made(tmp_path / name, **options)  # type: ignore[arg-type]
        made[id(one.subject)] = one
        subjects.subjects[name] = one.subject
    return subjects


def test_a_failure_leaves_the_others_figures(run: Laboratory) -> None:
    run.measure(("latency",), ROUNDS)
    (comparison,) = run.comparisons
    assert comparison.quantity == LATENCY
    assert comparison.figures == {
        "plain": [1.0, 2.0, 3.0],
        "crypt": [1.0, 2.0, 3.0],
        "eno": [1.0],
        "ssh": [1.0, 2.0, 3.0],
    }
    assert run.failed.keys() == {"eno", "ssh"}


def test_a_failure_is_told_with_the_logs(run: Laboratory) -> None:
    run.measure(("latency",), ROUNDS)
    assert run.failed["eno"].startswith("latency: TimeoutError: stalled")
    assert "daemon.log: last words" in run.failed["eno"]
    assert "AssertionError: not encrypted" in run.failed["ssh"]


def test_without_plain_there_is_nothing_to_compare_with(run: Laboratory) -> None:
    run.subjects = {"plain": run.subjects["eno"]}
    with pytest.raises(TimeoutError, match="stalled"):
        run.measure(("latency",), ROUNDS)


def test_comparisons_stand_in_the_order_of_the_report(run: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(_subject: Subject, _parameters: Parameters) -> Figures:
        yield LATENCY, 1.0
        yield CPU, 1.0
        yield BULK, 1.0

    monkeypatch.setattr(laboratory, "MEASUREMENTS", {"all": measure})
    run.measure(("all",), QUICK)
    assert [comparison.quantity for comparison in run.comparisons] == [BULK, CPU, LATENCY]
