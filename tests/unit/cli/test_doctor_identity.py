from pathlib import Path

import pytest

from tcpcryptd.cli import doctor_identity
from tcpcryptd.cli.config import Settings
from tcpcryptd.cli.doctor_identity import examine_identity
from tcpcryptd.crypto.identity import public_key
from tcpcryptd.crypto.ssh_keys import write_private_key
from tcpcryptd.identity.public_key import fingerprint, key_line
from tcpcryptd.netio.doctor import Severity
from tests.unit.identity.openssh import certify, make_key, needs_ssh_keygen

PUBLIC = public_key(bytes(32))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(write_private_key(bytes(32)))
    path.chmod(0o600)
    (tmp_path / "key.pub").write_text(f"{key_line(PUBLIC)} host\n")
    return path


def found(settings: Settings) -> list[tuple[str, Severity]]:
    return [(each.subject, each.severity) for each in examine_identity(settings)]


def test_without_identities_nothing_is_said() -> None:
    assert found(Settings()) == []


def test_a_key(key: Path) -> None:
    (finding,) = examine_identity(Settings(identity=str(key)))
    assert fingerprint(PUBLIC) in finding.text
    key.chmod(0o644)
    (finding,) = examine_identity(Settings(identity=str(key)))
    assert finding.severity is Severity.PROBLEM
    assert "chmod 600" in finding.text


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("validity", "now", "severity"),
    [
        (("-V", "20300101000000Z:20310101000000Z"), 1_900_000_000, Severity.OK),
        (("-V", "20300101000000Z:20310101000000Z"), 1_924_500_000, Severity.WARNING),
        (("-V", "20300101000000Z:20310101000000Z"), 1_800_000_000, Severity.PROBLEM),
        (("-V", "20300101000000Z:20310101000000Z"), 1_950_000_000, Severity.PROBLEM),
        ((), 1_950_000_000, Severity.OK),
    ],
)
def test_a_certificate(
    key: Path, tmp_path: Path, validity: tuple[str, ...], now: int, severity: Severity, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify(make_key(tmp_path / "ca"), key, *validity)
    monkeypatch.setattr(doctor_identity, "wall_clock", lambda: float(now))
    assert found(Settings(identity=str(key))) == [("identity", Severity.OK), ("certificate", severity)]


def test_a_list_of_peers(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    settings = Settings(peers=str(path))
    assert found(settings) == [("peers", Severity.PROBLEM)]
    path.write_text(f"192.0.2.1 {key_line(PUBLIC)}\n")
    path.chmod(0o644)
    assert found(settings) == [("peers", Severity.OK)]
    path.chmod(0o640)
    assert found(settings) == [("peers", Severity.WARNING)]
    path.chmod(0o644)
    path.write_text("# nothing\nnonsense\n")
    assert found(settings) == [("peers", Severity.WARNING)] * 2


@pytest.mark.parametrize("listed", [True, False])
def test_a_list_without_this_hosts_own_key(key: Path, tmp_path: Path, listed: bool) -> None:
    path = tmp_path / "peers"
    path.write_text(f"192.0.2.1 {key_line(PUBLIC if listed else public_key(bytes(31) + bytes((1,))))}\n")
    path.chmod(0o644)
    missing = [] if listed else [("peers", Severity.WARNING)]
    assert found(Settings(identity=str(key), peers=str(path))) == [
        ("identity", Severity.OK),
        ("peers", Severity.OK),
        *missing,
    ]


@needs_ssh_keygen
def test_a_list_with_this_hosts_authority(key: Path, tmp_path: Path) -> None:
    certify(make_key(tmp_path / "ca"), key)
    path = tmp_path / "peers"
    path.write_text(f"@cert-authority * {(tmp_path / 'ca.pub').read_text()}")
    path.chmod(0o644)
    severities = {severity for _, severity in found(Settings(identity=str(key), peers=str(path)))}
    assert severities == {Severity.OK}


def test_the_state_directory(tmp_path: Path) -> None:
    settings = Settings(first_use=True, state_directory=str(tmp_path / "state"), user="nobody")
    assert found(settings) == [("state-directory", Severity.OK)]
    assert not (tmp_path / "state").exists()
    (tmp_path / "state").mkdir()
    assert found(settings) == [("state-directory", Severity.OK)]
    (tmp_path / "state").rmdir()
    (tmp_path / "state").symlink_to("/")
    assert found(settings) == [("state-directory", Severity.PROBLEM)]
    assert found(Settings(first_use=True, user="nobody of that name")) == [("state-directory", Severity.PROBLEM)]
