import os
from pathlib import Path

import pytest

from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.process.identity_files import read_if_there, read_private, read_public, write_key_pair


def test_a_key_pair_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    umask = os.umask(0)
    try:
        write_key_pair(path, b"private", b"public")
    finally:
        os.umask(umask)
    assert (read_private(path), read_public(tmp_path / "key.pub", 100)) == (b"private", b"public")
    assert [each.stat().st_mode & 0o777 for each in (path, tmp_path / "key.pub")] == [0o600, 0o644]
    with pytest.raises(DaemonError, match="never overwritten"):
        write_key_pair(path, b"other", b"other")
    assert read_private(path) == b"private"


def test_half_a_pair_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_bytes(b"of another key")
    with pytest.raises(DaemonError, match=r"key\.pub: File exists"):
        write_key_pair(tmp_path / "key", b"private", b"public")
    assert os.listdir(tmp_path) == ["key.pub"]
    assert (tmp_path / "key.pub").read_bytes() == b"of another key"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"private")
    path.chmod(mode)
    with pytest.raises(DaemonError, match=f"mode {mode:04o}.*chmod 600"):
        read_private(path)


def test_a_key_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    write_key_pair(path, b"private", b"public")
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        os.chown(path, 1, 1)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(DaemonError, match="belongs to user"):
        read_private(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, reason in (
        ("fifo", "not a regular file"),
        ("", "directory|not a regular file"),
        ("none", "No such file"),
    ):
        with pytest.raises(DaemonError, match=reason):
            read_public(tmp_path / name, 10)
    assert read_if_there(tmp_path / "none", 10) is None
    with pytest.raises(DaemonError):
        read_if_there(tmp_path / "fifo", 10)


def test_no_more_is_read_than_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    assert len(read_public(tmp_path / "file", 10)) == 11


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DaemonError, match="Permission denied") as raised:
        read_public(tmp_path / "file", 10)
    assert raised.value.exit_code == ExitCode.PERMISSION
