"""The JSON document: written, read back, and where from."""

import sys
from pathlib import Path

import pytest

from bench.document import NOT_INSTALLED, Document, document, program_version, result
from bench.report import Comparison, Quantity

SPEED = Quantity("speed", "Mbit/s", higher_is_better=True, counted="payload")
COMPARISONS = [Comparison(SPEED, {"plain": [100.0, 200.0], "crypt": [50.0, 50.0]})]


@pytest.fixture
def run() -> Document:
    return document(COMPARISONS, {"rounds": 2}, 0.25, skipped={"eno": "refused"}, failed={"ssh": "ended"})


def test_reads_what_it_wrote(tmp_path: Path, run: Document) -> None:
    file = run.write(tmp_path)
    assert Document.read(file) == run
    assert Document.read(file).comparisons() == COMPARISONS


def test_a_directory_gets_files_whose_names_are_in_order(tmp_path: Path, run: Document) -> None:
    file = run.write(tmp_path)
    assert file == tmp_path / f"{run.time.translate(str.maketrans('', '', ':-'))}.json"
    assert run.write(tmp_path / "mine.json") == tmp_path / "mine.json"


def test_holds_machine_versions_parameters_and_reasons(run: Document) -> None:
    assert run.machine["processors"] >= 1
    assert run.machine["load_average_before"] == 0.25
    assert run.versions["cryptography"] != NOT_INSTALLED
    assert {"python", "commit", "stunnel", "ssh", "wireguard-go", "iperf3"} <= run.versions.keys()
    assert (run.parameters, run.skipped, run.failed) == ({"rounds": 2}, {"eno": "refused"}, {"ssh": "ended"})


def test_median_ratio_only_where_plain_has_figures() -> None:
    assert result(COMPARISONS[0])["median_ratio"] == {"plain": 1.0, "crypt": 0.375}
    assert result(Comparison(SPEED, {"crypt": [1.0]}))["median_ratio"] == {}


def test_reads_documents_without_the_later_fields(tmp_path: Path) -> None:
    entry = '{"name": "bulk", "unit": "Mbit/s", "higher_is_better": true, "figures": {"plain": [1.0]}}'
    file = tmp_path / "old.json"
    file.write_text(
        '{"time": "2026-11-23T22:16:57Z", "machine": {}, "versions": {}, "parameters": {}, "results": [' + entry + "]}"
    )
    read = Document.read(file)
    assert (read.skipped, read.failed) == ({}, {})
    assert read.comparisons() == [Comparison(Quantity("bulk", "Mbit/s", higher_is_better=True), {"plain": [1.0]})]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"time": "x", "surprise": 1}'])
def test_refuses_other_files(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises((ValueError, TypeError)):
        Document.read(file)


@pytest.mark.parametrize(
    ("code", "version"),
    [
        ("print('hello\\nprogram 1.2.3\\n4.5')", "program 1.2.3"),
        ("import sys; sys.exit('OpenThing_9.2')", "OpenThing_9.2"),
        ("print('none')", "unknown"),
    ],
)
def test_program_version_is_the_first_line_with_a_number(code: str, version: str) -> None:
    assert program_version((sys.executable, "-c", code)) == version


def test_program_version_of_a_missing_program() -> None:
    assert program_version(("/nonexistent/program", "--version")) == NOT_INSTALLED
