from pathlib import Path

import pytest

from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.sysctl import ConntrackSetting


@pytest.fixture
def setting(tmp_path: Path) -> Path:
    path = tmp_path / "be_liberal"
    path.write_text("0\n")
    return path


@pytest.mark.parametrize("old", ["0", "1"])
def test_old_value_comes_back(tmp_path: Path, setting: Path, old: str) -> None:
    setting.write_text(f"{old}\n")
    tracking = ConntrackSetting(tmp_path / "state.json", setting)
    tracking.relax()
    assert setting.read_text() == "1"
    tracking.restore()
    assert setting.read_text() == old
    assert not (tmp_path / "state.json").exists()


def test_old_value_survives_a_daemon_that_was_killed(tmp_path: Path, setting: Path) -> None:
    ConntrackSetting(tmp_path / "state.json", setting).relax()
    second = ConntrackSetting(tmp_path / "state.json", setting)
    second.relax()
    second.restore()
    assert setting.read_text() == "0"


def test_restore_without_a_stored_value_changes_nothing(tmp_path: Path, setting: Path) -> None:
    setting.write_text("1")
    ConntrackSetting(tmp_path / "state.json", setting).restore()
    assert setting.read_text() == "1"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"nf_conntrack_tcp_be_liberal": "x"}', "\xff" * 5000])
def test_store_that_cannot_be_read_counts_as_none(tmp_path: Path, setting: Path, text: str) -> None:
    state = tmp_path / "state.json"
    state.write_text(text)
    tracking = ConntrackSetting(state, setting)
    tracking.relax()
    tracking.restore()
    assert setting.read_text() == "0"


def test_store_is_not_written_through_a_link(tmp_path: Path, setting: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "state.new").symlink_to(victim)
    ConntrackSetting(tmp_path / "state.json", setting).relax()
    assert victim.read_text() == "untouched"


def test_no_connection_tracking(tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match="modprobe nf_conntrack") as raised:
        ConntrackSetting(tmp_path / "state.json", tmp_path / "missing").relax()
    assert raised.value.exit_code == ExitCode.UNSUPPORTED
