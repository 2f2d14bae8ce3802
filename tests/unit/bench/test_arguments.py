"""What the command line makes the benchmark do."""

from pathlib import Path

import pytest

from bench.arguments import RESULTS, parse_arguments
from bench.quantities import MEASUREMENTS, QUICK, Parameters
from bench.variants import VARIANTS


def test_by_default_everything_is_measured_and_written() -> None:
    plan = parse_arguments([])
    assert (plan.parameters, plan.variants, plan.measurements) == (Parameters(), VARIANTS, tuple(MEASUREMENTS))
    assert (plan.output, plan.whole, plan.check) == (RESULTS, True, False)


def test_quick_is_short_and_not_written() -> None:
    plan = parse_arguments(["--quick"])
    assert plan.parameters == QUICK
    assert plan.output is None


def test_numbers_go_before_what_quick_says() -> None:
    plan = parse_arguments(["--quick", "--rounds", "2", "--round-trips", "7"])
    assert (plan.parameters.rounds, plan.parameters.round_trips) == (2, 7)
    assert plan.parameters.seconds == QUICK.seconds


@pytest.mark.parametrize("arguments", [["--rounds", "2"], ["--seconds", "1"], ["--only", "eno"], ["--only", "latency"]])
def test_a_poor_base_for_comparison_is_written_only_where_asked(arguments: list[str], tmp_path: Path) -> None:
    assert (parse_arguments(arguments).output, parse_arguments(arguments).whole) == (None, False)
    assert parse_arguments([*arguments, "--output", str(tmp_path)]).output == tmp_path


def test_more_or_fewer_rounds_are_still_a_whole_run() -> None:
    assert [parse_arguments(["--rounds", number]).output for number in ("3", "9")] == [RESULTS, RESULTS]


def test_only_chooses_variants_beside_plain() -> None:
    plan = parse_arguments(["--only", "stunnel", "--only", "crypt"])
    assert [variant.name for variant in plan.variants] == ["plain", "crypt", "stunnel"]
    assert plan.measurements == tuple(MEASUREMENTS)


def test_only_chooses_measurements() -> None:
    plan = parse_arguments(["--only", "latency"])
    assert plan.measurements == ("latency",)
    assert plan.variants == VARIANTS


def test_another_revision_is_no_whole_run() -> None:
    plan = parse_arguments(["--against", "HEAD"])
    assert (plan.against, plan.whole, plan.output) == ("HEAD", False, None)
    assert plan.variants == VARIANTS


@pytest.mark.parametrize(
    "arguments",
    [
        ["--against", "no-such-revision"],
        ["--against", "--all"],
        ["--only", "nothing"],
        ["--rounds", "0"],
        ["--rounds", "x"],
        ["--check", "--quick"],
        ["--check", "--rounds", "2"],
    ],
)
def test_refuses_what_cannot_be(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse_arguments(arguments)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_name_is_a_variant_or_a_measurement() -> None:
    names = [variant.name for variant in VARIANTS]
    assert len({*names, *MEASUREMENTS}) == len(names) + len(MEASUREMENTS)
