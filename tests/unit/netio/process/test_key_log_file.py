import os
import stat
from pathlib import Path

import pytest

from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.process.key_log_file import KeyLogFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def written(path: Path, *lines: str) -> KeyLogFile:
    file = KeyLogFile(path, "# head")
    file.open()
    for line in lines:
        file.write(line)
    return file


def test_a_new_file_is_private_whatever_the_umask(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = os.umask(0)
    try:
        file = written(path, "one", "two")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "# head\none\ntwo\n"
    assert file.counters() == {"keylog_on": 1, "keylog_lines": 2, "keylog_failures": 0}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text
    file.close()


def test_an_existing_file_is_added_to_and_made_private(path: Path) -> None:
    path.write_text("# head\none\n")
    path.chmod(0o644)
    written(path, "two").close()
    assert path.read_text() == "# head\none\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DaemonError):
        written(path)
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_no_file_of_ours_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DaemonError):
        written(tmp_path)
    os.mkfifo(path)
    with pytest.raises(DaemonError):
        written(path)
    other = tmp_path / "other"
    other.touch()
    os.link(other, tmp_path / "second")
    with pytest.raises(DaemonError):
        written(other)


def test_a_full_disk_is_reported_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    # Not a regular file, so open() would refuse it.
    file = KeyLogFile(Path("/dev/full"), "# head")
    file._descriptor = os.open("/dev/full", os.O_WRONLY)
    file.write("secret one")
    file.write("secret two")
    file.close()
    assert file.counters() == {"keylog_on": 1, "keylog_lines": 0, "keylog_failures": 2}
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text
