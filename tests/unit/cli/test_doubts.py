import logging
from ipaddress import ip_network
from pathlib import Path

import pytest

from tcpcryptd import crypt
from tcpcryptd.cli import config, post_quantum
from tcpcryptd.cli.config import Settings
from tcpcryptd.cli.doubts import doubts
from tcpcryptd.netio.doctor import Severity

NETWORKS = (ip_network("192.0.2.0/24"),)
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
            ["suites: AES-128-GCM: of eno, which this host neither offers nor answers"],
        ),
        (Settings(suites=("MLKEM768-X25519-HPKE", "X25519-HPKE"), require_post_quantum=NETWORKS), []),
        (
            Settings(suites=("X25519-HPKE",), require_post_quantum=NETWORKS),
            ["require-post-quantum: suites excludes every such key agreement of crypt: with it connections fail"],
        ),
        (
            Settings(suites=("AES-128-GCM",)),
            ["suites: none of crypt, which this host offers, so all of its suites are used"],
        ),
        (
            Settings(suites=("RSA-2048",), protocol="auto"),
            ["suites: none of eno, which this host offers, so all of its suites are used"],
        ),
        (Settings(identity="key", peers="peers", first_use=True), []),
        (
            Settings(require_identity=NETWORKS),
            ["require-identity: without peers no host is authenticated, so all connections with these hosts fail"],
        ),
        (Settings(require_identity=NETWORKS, peers="peers", suites=("RSA-2048", "X25519-HPKE")), []),
        (
            Settings(require_identity=NETWORKS, peers="peers", suites=("RSA-2048",)),
            ["require-identity: suites leave crypt no mechanism with proofs: those connections fail with it"],
        ),
    ],
)
def test_what_cannot_mean_what_was_meant(settings: Settings, expected: list[str]) -> None:
    assert list(doubts(settings, INTERFACES)) == expected


def test_a_library_without_ml_kem_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.severity for finding in post_quantum.check()] == [Severity.OK]
    assert post_quantum.description() == "post-quantum key agreement"
    monkeypatch.setattr(crypt, "post_quantum_names", lambda: ())
    assert list(doubts(Settings(), INTERFACES)) == [post_quantum.LACKING]
    assert [finding.severity for finding in post_quantum.check()] == [Severity.WARNING]
    assert post_quantum.description() == post_quantum.LACKING


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
