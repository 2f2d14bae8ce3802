"""What a run prints, writes and says by its exit code. The measuring itself is made up."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import bench.__main__ as command
from bench.arguments import parse_arguments
from bench.document import Document, document
from bench.quantities import BULK, Parameters
from bench.report import Comparison

EARLIER = "2026-01-01T00:00:00Z"


@dataclass
class Bench:
    """Runs the command with made-up throughputs of `crypt`; plain TCP's are always the same."""

    results: Path
    call: Callable[[list[str], Document], int]

    def made(self, crypt: float, **failed: str) -> Document:
        figures = {"plain": [1000.0, 1001.0, 999.0], "crypt": [crypt, crypt + 1, crypt - 1]}
        parameters = {"rounds": 3, "seconds": Parameters.seconds}
        return document([Comparison(BULK, figures)], parameters, 0.0, skipped={}, failed=failed)

    def earlier(self, crypt: float) -> None:
        replace(self.made(crypt), time=EARLIER).write(self.results)


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    def call(arguments: list[str], now: Document) -> int:
        plan = replace(parse_arguments(["--rounds", "3", *arguments]), output=tmp_path)
        monkeypatch.setattr(command, "parse_arguments", lambda: plan)
        monkeypatch.setattr(command, "run", lambda _: now)
        result = command.main()
        monkeypatch.undo()
        return result

    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "prepare", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return Bench(tmp_path, call)


@pytest.mark.parametrize(("arguments", "exit_code"), [([], 0), (["--check"], command.REGRESSION)])
def test_a_regression_is_named_and_fails_only_a_check(
    made_up: Bench, arguments: list[str], exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up.earlier(400.0)
    assert made_up.call(arguments, made_up.made(300.0)) == exit_code
    printed = capsys.readouterr().out
    assert "WORSE bulk, one stream, crypt: 300" in printed
    assert "Medians compared: 1, worse beyond the spread: 1." in printed
    assert len(list(made_up.results.glob("*.json"))) == 2


def test_no_regression_passes_a_check(made_up: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    made_up.earlier(400.0)
    assert made_up.call(["--check"], made_up.made(401.0)) == 0
    assert "WORSE" not in capsys.readouterr().out


def test_a_first_run_has_nothing_to_be_compared_with(made_up: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert made_up.call(["--check"], made_up.made(401.0)) == 0
    assert "No earlier run" in capsys.readouterr().out


def test_a_failed_variant_fails_the_run(made_up: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert made_up.call([], made_up.made(401.0, eno="stalled")) == command.FAILED
    assert "eno: FAILED" in capsys.readouterr().out


def test_without_root_nothing_is_measured(made_up: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert made_up.call([], made_up.made(1.0)) == command.NOT_ROOT
    assert list(made_up.results.iterdir()) == []


def test_an_interpreted_package_is_not_compared_with_a_compiled_one(
    made_up: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TCPCRYPTD_PACKAGE", raising=False)
    assert made_up.call(["--against", "HEAD"], made_up.made(300.0)) == command.NOT_COMPARABLE
    assert "make bench" in capsys.readouterr().err
    assert not list(made_up.results.glob("*.json"))
