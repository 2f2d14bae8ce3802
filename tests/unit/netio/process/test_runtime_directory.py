import os
from pathlib import Path

import pytest

from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.process.runtime_directory import prepare_runtime_directory, remove_runtime_files

USER, GROUP = os.geteuid(), os.getegid()


def test_is_made_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "tcpcryptd"
    prepare_runtime_directory(path, USER, GROUP)
    assert path.stat().st_mode & 0o7777 == 0o755
    (path / "state.json").write_text("{}")
    prepare_runtime_directory(path, USER, GROUP)
    assert (path / "state.json").exists()
    remove_runtime_files(path)
    assert not path.exists()


def test_files_of_others_are_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    prepare_runtime_directory(path, USER, GROUP)
    (path / "other").write_text("")
    remove_runtime_files(path)
    assert (path / "other").exists()


def test_directory_of_others_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "something").write_text("")
    with pytest.raises(DaemonError, match="something"):
        prepare_runtime_directory(tmp_path, USER + 1, GROUP)
    assert tmp_path.stat().st_uid == USER


def test_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(DaemonError, match="not a directory"):
        prepare_runtime_directory(tmp_path / "link", USER, GROUP)


def test_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DaemonError, match="runtime directory"):
        prepare_runtime_directory(tmp_path / "file", USER, GROUP)
