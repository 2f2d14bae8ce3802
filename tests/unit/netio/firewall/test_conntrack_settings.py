import json
import os
from pathlib import Path

import pytest

from tcpcryptd.core.lifecycle import Phase
from tcpcryptd.core.limits import IDLE
from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.firewall.conntrack_settings import SETTINGS, ConntrackSettings

LIBERAL = "nf_conntrack_tcp_be_liberal"
CLOSE_WAIT = "nf_conntrack_tcp_timeout_close_wait"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "netfilter"
    path.mkdir()
    for name in SETTINGS:
        (path / name).write_text("0\n" if name == LIBERAL else "60\n")
    return path


def values(directory: Path) -> dict[str, int]:
    return {path.name: int(path.read_text()) for path in directory.iterdir()}


@pytest.mark.parametrize("liberal", ["0", "1"])
def test_old_values_come_back(tmp_path: Path, directory: Path, liberal: str) -> None:
    (directory / LIBERAL).write_text(liberal)
    old = values(directory)
    tracking = ConntrackSettings(tmp_path / "state.json", directory)
    tracking.relax()
    assert values(directory) == SETTINGS
    tracking.restore()
    assert values(directory) == old
    assert not (tmp_path / "state.json").exists()


def test_what_is_longer_already_is_left(tmp_path: Path, directory: Path) -> None:
    (directory / CLOSE_WAIT).write_text("432000")
    ConntrackSettings(tmp_path / "state.json", directory).relax()
    assert values(directory)[CLOSE_WAIT] == 432_000


def test_what_is_forwarded_is_remembered_as_long_as_if_it_were_established(tmp_path: Path, directory: Path) -> None:
    tracking = ConntrackSettings(tmp_path / "state.json", directory, forwards=True)
    tracking.relax()
    assert values(directory)[CLOSE_WAIT] >= IDLE[Phase.OPEN]
    tracking.restore()
    assert values(directory)[CLOSE_WAIT] == 60


def test_tracking_remembers_as_long_as_the_engine() -> None:
    assert SETTINGS[CLOSE_WAIT] >= IDLE[Phase.HALF_CLOSED]
    assert SETTINGS["nf_conntrack_tcp_timeout_unacknowledged"] >= IDLE[Phase.OPEN]
    assert SETTINGS["nf_conntrack_tcp_timeout_max_retrans"] >= IDLE[Phase.OPEN]
    for state in ("last_ack", "time_wait", "close"):
        assert SETTINGS[f"nf_conntrack_tcp_timeout_{state}"] >= IDLE[Phase.CLOSED]


def test_old_values_survive_a_daemon_that_was_killed(tmp_path: Path, directory: Path) -> None:
    old = values(directory)
    ConntrackSettings(tmp_path / "state.json", directory).relax()
    second = ConntrackSettings(tmp_path / "state.json", directory)
    second.relax()
    second.restore()
    assert values(directory) == old


def test_old_values_survive_an_earlier_version_that_was_killed(tmp_path: Path, directory: Path) -> None:
    old = values(directory)
    (directory / LIBERAL).write_text("1")
    state = tmp_path / "state.json"
    state.write_text(json.dumps({LIBERAL: old[LIBERAL]}))
    tracking = ConntrackSettings(state, directory)
    tracking.relax()
    tracking.restore()
    assert values(directory) == old


def test_restore_without_stored_values_changes_nothing(tmp_path: Path, directory: Path) -> None:
    (directory / LIBERAL).write_text("1")
    old = values(directory)
    ConntrackSettings(tmp_path / "state.json", directory).restore()
    assert values(directory) == old


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"nf_conntrack_tcp_be_liberal": "x"}', "\xff" * 5000])
def test_store_that_cannot_be_read_counts_as_none(tmp_path: Path, directory: Path, text: str) -> None:
    old = values(directory)
    state = tmp_path / "state.json"
    state.write_text(text)
    tracking = ConntrackSettings(state, directory)
    tracking.relax()
    tracking.restore()
    assert values(directory) == old


def test_store_is_not_written_through_a_link(tmp_path: Path, directory: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "state.new").symlink_to(victim)
    ConntrackSettings(tmp_path / "state.json", directory).relax()
    assert victim.read_text() == "untouched"


def test_no_connection_tracking(tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match="modprobe nf_conntrack") as raised:
        ConntrackSettings(tmp_path / "state.json", tmp_path / "missing").relax()
    assert raised.value.exit_code == ExitCode.UNSUPPORTED


def test_the_store_can_be_read_by_the_daemon_s_user_under_any_umask(tmp_path: Path, directory: Path) -> None:
    before = os.umask(0o077)
    try:
        ConntrackSettings(tmp_path / "state.json", directory).relax()
    finally:
        os.umask(before)
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o644


def test_a_store_that_cannot_be_read_is_kept(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(DaemonError, match="cannot be restored"):
        ConntrackSettings(tmp_path / "state.json", directory).restore()
    assert (tmp_path / "state.json").exists()
