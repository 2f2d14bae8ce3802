import logging
from pathlib import Path

import pytest

from tcpcryptd.cli import config
from tcpcryptd.cli.config import Settings
from tcpcryptd.cli.doubts import doubts

INTERFACES = ("lo", "eth0")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), []),
        (Settings(port=(80, 25), exclude_port=(443,), interface=("eth0",), forward=("eth+",)), []),
        (Settings(port=(80, 25), exclude_port=(25,)), ["port 25 is both chosen and excluded: it is excluded"]),
        (Settings(interface=("eth0", "eht1")), ["interface eht1: this host has no such interface now"]),
        (Settings(forward=("wlan+",)), ["forward wlan+: this host has no such interface now"]),
        (Settings(suites=("X25519-HPKE",)), []),
        (Settings(suites=("X25519-HPKE", "AES-128-GCM")), []),
        (
            Settings(suites=("X25519-HPKE", "AES-128-GCM"), answer="crypt"),
            ["suites: AES-128-GCM: of eno, which this host neither offers nor answers to"],
        ),
        (
            Settings(suites=("AES-128-GCM",)),
            ["suites: none of crypt, which this host offers: all of its suites are used"],
        ),
        (
            Settings(suites=("RSA-2048",), protocol="auto"),
            ["suites: none of eno, which this host offers: all of its suites are used"],
        ),
    ],
)
def test_what_cannot_mean_what_was_meant(settings: Settings, expected: list[str]) -> None:
    assert list(doubts(settings, INTERFACES)) == expected


@pytest.mark.parametrize(
    ("line", "warned"),
    [("port = []", True), ("suites = []", True), ("exclude-port = []", False), ("require = []", False)],
)
def test_an_empty_list(line: str, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(logging.getLogger(config.__name__), "warning", lambda form, *words: said.append(form % words))
    file = tmp_path / "tcpcryptd.toml"
    file.write_text(line)
    config.load_settings(file, {})
    assert said == [f"{file}: {line}: an empty list chooses all, as if it were left out"] * warned
