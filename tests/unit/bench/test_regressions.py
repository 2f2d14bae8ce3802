"""This run against an earlier one."""

from pathlib import Path
from typing import Any

import pytest

from bench.document import Document, result
from bench.regressions import in_both, last_document, missing, other_parameters, regressions, worse
from bench.report import Comparison, Quantity

SPEED = Quantity("speed", "Mbit/s", higher_is_better=True)
DELAY = Quantity("delay", "ms")
MACHINE = {"processor": "x", "processors": 2, "memory_bytes": 1 << 30, "kernel": "6.18"}


def make_document(time: str, machine: dict[str, Any] = MACHINE, **parameters: int) -> Document:
    comparison = Comparison(SPEED, {"plain": [1.0]})
    return Document(time=time, machine=machine, versions={}, parameters=parameters, results=[result(comparison)])


@pytest.mark.parametrize(
    ("now", "before", "is_worse"),
    [
        ([2.0, 2.1, 1.9], [1.0, 1.1, 0.9], True),
        ([1.0, 1.1, 0.9], [2.0, 2.1, 1.9], False),
        ([1.0, 1.1, 0.9], [1.0, 1.1, 0.9], False),
        # The median now is among the earlier figures.
        ([1.5, 1.6, 1.4], [1.0, 1.7, 0.9], False),
        # The earlier median is among the figures now.
        ([1.5, 1.6, 0.9], [1.0, 1.1, 0.8], False),
        # Beyond both spreads, but not by much.
        ([1.04, 1.05, 1.03], [1.0, 1.01, 0.99], False),
        ([1.07, 1.08, 1.06], [1.0, 1.01, 0.99], True),
        # No spread to speak of.
        ([2.0, 2.1], [1.0, 1.1, 0.9], False),
        ([2.0, 2.1, 1.9], [1.0, 1.1], False),
    ],
)
def test_worse_is_beyond_both_spreads(now: list[float], before: list[float], is_worse: bool) -> None:
    assert worse(now, before, higher_is_better=False) is is_worse


def test_worse_knows_which_way_is_up() -> None:
    low, high = [1.0, 1.1, 0.9], [2.0, 2.1, 1.9]
    assert worse(low, high, higher_is_better=True)
    assert not worse(high, low, higher_is_better=True)


def test_a_slower_variant_is_named() -> None:
    before = [Comparison(SPEED, {"plain": [1000.0] * 3, "crypt": [400.0, 410.0, 390.0], "ssh": [600.0] * 3})]
    now = [Comparison(SPEED, {"plain": [1000.0] * 3, "crypt": [300.0, 310.0, 290.0], "ssh": [600.0] * 3})]
    (found,) = regressions(now, before)
    assert (found.quantity, found.variant) == (SPEED, "crypt")
    assert str(found) == "speed, crypt: 300 (290 to 310) Mbit/s, before 400 (390 to 410) (-25%)"


def test_a_slower_machine_is_no_regression() -> None:
    before = [Comparison(DELAY, {"plain": [1.0] * 3, "crypt": [2.0] * 3})]
    now = [Comparison(DELAY, {"plain": [1.5] * 3, "crypt": [3.0] * 3})]
    assert regressions(now, before) == []


def test_a_faster_plain_alone_is_no_regression() -> None:
    before = [Comparison(DELAY, {"plain": [1.0] * 3, "crypt": [2.0] * 3})]
    now = [Comparison(DELAY, {"plain": [0.5] * 3, "crypt": [2.0] * 3})]
    assert regressions(now, before) == []


def test_figures_without_a_ratio_are_judged_by_themselves() -> None:
    before, now = ([Comparison(DELAY, {"crypt": [figure] * 3})] for figure in (1.0, 2.0))
    assert [found.variant for found in regressions(now, before)] == ["crypt"]


def test_only_what_both_runs_have_is_compared() -> None:
    before = [Comparison(SPEED, {"plain": [10.0] * 3, "old": [9.0] * 3})]
    now = [Comparison(SPEED, {"plain": [10.0] * 3, "new": [1.0] * 3}), Comparison(DELAY, {"new": [1.0] * 3})]
    assert regressions(now, before) == []
    assert in_both(now, before) == []
    assert in_both(now, now) == [(now[0], now[0], "new"), (now[1], now[1], "new")]
    assert missing(now, before) == ["speed, old"]
    assert missing(before, now) == ["speed, new", "delay, new"]


def test_last_document_is_the_latest_before_on_such_a_machine(tmp_path: Path) -> None:
    now = make_document("2026-11-24T10:00:00Z", {**MACHINE, "kernel": "6.19"})
    other = make_document("2026-11-24T09:00:00Z", {**MACHINE, "processors": 64})
    latest, earliest = make_document("2026-11-23T10:00:00Z"), make_document("2026-11-22T10:00:00Z")
    for each in (now, other, latest, earliest):
        each.write(tmp_path)
    found = last_document(tmp_path, now)
    assert found is not None
    assert (found[0].name, found[1]) == ("20261123T100000Z.json", latest)
    assert last_document(tmp_path, earliest) is None
    assert last_document(tmp_path, other) is None


def test_runs_of_other_lengths_are_not_comparable() -> None:
    before = make_document("2026-11-23T10:00:00Z", rounds=5, seconds=5)
    assert other_parameters(make_document("2026-11-24T10:00:00Z", rounds=3, seconds=5, idle=1000), before) == []
    assert other_parameters(make_document("2026-11-24T10:00:00Z", rounds=5, seconds=1), before) == ["seconds"]
