"""Man pages, completion and sample configuration have what the option tables have."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from scripts import manual
from tcpcryptd.cli.config import read_file
from tcpcryptd.cli.options import OPTIONS

NAMES = {"tcpcryptd.8", "tcnetstat.8", "tcpcrypt-pcap.1", "tcpcryptd.toml.5", "tcpcrypt.7"}


def flags(command: str) -> set[str]:
    return {flag for action in manual.actions_of(manual.parsers()[command]) for flag in action.option_strings}


def test_every_option_is_in_the_pages() -> None:
    pages = manual.pages()
    assert pages.keys() == NAMES
    for page, command in (
        ("tcpcryptd.8", "tcpcryptd"),
        ("tcpcryptd.8", "tcpcryptd doctor"),
        ("tcnetstat.8", "tcnetstat"),
        ("tcpcrypt-pcap.1", "tcpcrypt-pcap"),
    ):
        assert [flag for flag in flags(command) if manual.escaped(flag) not in pages[page]] == []
    for option in OPTIONS:
        assert f".B {manual.escaped(option.name)}\n" in pages["tcpcryptd.toml.5"]
        assert f"--{option.name}" in flags("tcpcryptd")


def test_nothing_is_left_to_replace() -> None:
    for page in manual.pages().values():
        assert "@" not in page


def test_what_roff_would_take_for_itself() -> None:
    assert manual.escaped(".a\n'b\\c-d") == "\\&.a\n\\&'b\\ec\\-d"


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
@pytest.mark.parametrize("name", sorted(NAMES))
def test_groff_has_no_complaints(name: str) -> None:
    # Without bold and underlined letters: since 1.23 these are escapes, otherwise overstruck, in the title too.
    command = ["groff", "-man", "-ww", "-Tutf8", "-rLL=100n", "-P-cbou"]
    done = subprocess.run(command, input=manual.pages()[name], capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    title, _, section = name.rpartition(".")
    assert done.stdout.startswith(f"{title.upper()}({section})")


def test_the_sample_changes_nothing_and_knows_all_keys(tmp_path: Path) -> None:
    path = tmp_path / "tcpcryptd.toml"
    path.write_text(manual.sample())
    assert read_file(path) == {}
    commented = [line for line in manual.sample().splitlines() if line.startswith("#") and not line.startswith("# ")]
    assert {line[1:].split(" = ")[0] for line in commented} == {option.name for option in OPTIONS}
    switches = "\n".join(line[1:] for line in commented if line.endswith("= true"))
    assert tomllib.loads(switches).keys() == {option.name for option in OPTIONS if option.kind is None}


def test_all_is_written(tmp_path: Path) -> None:
    assert manual.main([str(tmp_path)]) == 0
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {f"man/{name}" for name in NAMES} < written
    assert {"bash-completion/tcpcryptd", "zsh/_tcpcrypt-pcap", "tcpcryptd.toml"} < written
