"""The table, ratios and notes."""

import pytest

from bench.report import Comparison, Quantity, against, notes, spread, table

SPEED = Quantity("speed", "Mbit/s", higher_is_better=True)
COST = Quantity("cost", "s/GB", counted="what it costs")


def test_ratios_are_taken_round_by_round() -> None:
    comparison = Comparison(SPEED, {"plain": [100.0, 200.0], "crypt": [50.0, 50.0]})
    assert comparison.ratios("crypt") == [0.5, 0.25]
    assert comparison.ratios("plain") == [1.0, 1.0]


def test_ratios_of_a_variant_that_failed_stop_where_it_did() -> None:
    comparison = Comparison(SPEED, {"plain": [100.0, 200.0], "crypt": [50.0]})
    assert comparison.ratios("crypt") == [0.5]


def test_ratios_to_another_revision() -> None:
    comparison = Comparison(SPEED, {"plain": [9.0], "crypt": [50.0, 60.0], "crypt@old": [25.0, 20.0], "ssh": [7.0]})
    lines = against([comparison], lambda name: f"{name}@old").splitlines()
    assert [line.split() for line in lines[1:]] == [["speed", "higher", "crypt", "crypt@old", "2.5", "(2", "to", "3)"]]


def test_no_ratios_without_plain() -> None:
    assert Comparison(COST, {"crypt": [50.0]}).ratios("crypt") == []


def test_add_keeps_the_order_of_rounds() -> None:
    comparison = Comparison(SPEED)
    for figure in (3.0, 1.0, 2.0):
        comparison.add("crypt", figure)
    assert comparison.figures == {"crypt": [3.0, 1.0, 2.0]}


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ([], "-"),
        ([1234.5], "1,234"),
        ([0.12345], "0.123"),
        ([3.0, 1.0, 2.0], "2 (1 to 3)"),
        ([20829.1, 18143.8, 20153.5, 19980.1], "20,067 (18,144 to 20,829)"),
        ([-250.0, 4.0], "-123 (-250 to 4)"),
    ],
)
def test_spread(figures: list[float], text: str) -> None:
    assert spread(figures) == text


def test_table_has_a_line_for_each_variant_and_says_what_is_counted() -> None:
    text = table(
        [
            Comparison(SPEED, {"plain": [100.0, 300.0, 200.0], "crypt": [10.0, 15.0, 40.0]}),
            Comparison(COST, {"crypt": [7.0, 8.0, 9.0]}),
        ]
    )
    lines = [line.split("  ") for line in text.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[1:] == [
        ["speed", "Mbit/s, higher is better", "plain", "200 (100 to 300)", "1 (1 to 1)"],
        ["speed", "Mbit/s, higher is better", "crypt", "15 (10 to 40)", "0.1 (0.05 to 0.2)"],
        ["cost", "s/GB, lower is better", "crypt", "8 (7 to 9)", "-"],
        [],
        ["cost: what it costs."],
    ]


def test_notes_name_variant_and_reason() -> None:
    first, second = notes({"stunnel": "it is not installed"}, {"eno": "bulk: reset"})
    assert first.startswith("stunnel: skipped")
    assert "it is not installed" in first
    assert second.startswith("eno: FAILED")
    assert "bulk: reset" in second
