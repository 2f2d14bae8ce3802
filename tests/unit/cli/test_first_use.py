import logging
import os
import time
from pathlib import Path

import pytest

from tcpcryptd.cli import first_use
from tcpcryptd.cli.first_use import FirstUse
from tcpcryptd.crypto.identity import public_key
from tcpcryptd.identity.learned import LearnedKeys
from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.process.state_file import StateFile

KEY, OTHER = public_key(bytes(32)), public_key(bytes((1,)) * 32)
ADDRESS = "192.0.2.1"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFile:
    monkeypatch.setattr(first_use, "SPACING", 0.0)
    file = StateFile(tmp_path / "state" / "known_hosts", 1000)
    file.prepare(os.geteuid(), os.getegid())
    return file


def wait_for(file: StateFile, count: int) -> LearnedKeys:
    deadline = time.monotonic() + 10
    while len(LearnedKeys(file.read())) != count and time.monotonic() < deadline:
        time.sleep(0.005)
    return LearnedKeys(file.read())


def test_what_is_learned_counts_here_at_once_and_elsewhere_soon(file: StateFile) -> None:
    here, elsewhere = FirstUse(file), FirstUse(file)
    assert elsewhere.key_of(ADDRESS) is None
    assert here.learn(ADDRESS, KEY)
    assert here.key_of(ADDRESS) == KEY
    assert wait_for(file, 1).key_of(ADDRESS) == KEY
    assert elsewhere.key_of(ADDRESS) == KEY
    assert FirstUse(file).key_of(ADDRESS) == KEY
    assert file.path.stat().st_mode & 0o777 == 0o644


def test_what_somebody_removes_is_forgotten(file: StateFile) -> None:
    here = FirstUse(file)
    assert here.learn(ADDRESS, KEY)
    assert here.learn("192.0.2.2", OTHER)
    wait_for(file, 2)
    file.change(lambda text: b"".join(line for line in text.splitlines(True) if not line.startswith(b"192.0.2.1 ")))
    assert here.key_of(ADDRESS) is None
    assert here.key_of("192.0.2.2") == OTHER


def test_what_was_written_here_is_not_read_again(file: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes long when there is much, and packets wait."""
    here = FirstUse(file)
    here._write([(f"192.0.2.{number}", KEY) for number in range(3)])
    monkeypatch.setattr(file, "read", lambda: pytest.fail("read again"))
    assert here.key_of("192.0.2.2") == KEY


def test_it_is_told_again_when_keys_are_not_kept_again(file: StateFile, caplog: pytest.LogCaptureFixture) -> None:
    here = FirstUse(file)
    for number in range(2):
        file.path.unlink(missing_ok=True)
        file.path.symlink_to("/etc/hostname")
        here._write([(ADDRESS, KEY)])
        assert len(caplog.messages) == number + 1
        file.path.unlink()
        here._write([(ADDRESS, KEY)])


def test_two_processes_that_see_two_keys_at_once(file: StateFile, caplog: pytest.LogCaptureFixture) -> None:
    first, second = FirstUse(file), FirstUse(file)
    assert first.key_of(ADDRESS) is second.key_of(ADDRESS) is None
    first._write([(ADDRESS, KEY)])
    second._write([(ADDRESS, OTHER)])
    assert "two keys at once" in caplog.text
    assert first.key_of(ADDRESS) == second.key_of(ADDRESS) == KEY


def test_a_file_that_cannot_be_used(file: StateFile, caplog: pytest.LogCaptureFixture) -> None:
    file.path.symlink_to("/etc/hostname")
    here = FirstUse(file)
    with caplog.at_level(logging.ERROR):
        assert here.key_of(ADDRESS) is None
        assert here.key_of(ADDRESS) is None
        here._write([(ADDRESS, KEY)])
    assert len(caplog.messages) == 1
    assert "are not kept" in caplog.messages[0]
    assert file.path.is_symlink()


def test_a_file_that_is_too_large(file: StateFile) -> None:
    file.change(lambda _: bytes(1001))
    with pytest.raises(OSError, match="larger"):
        file.read()


def test_a_change_that_fails_changes_nothing(file: StateFile) -> None:
    file.change(lambda _: b"before")
    with pytest.raises(ZeroDivisionError):
        file.change(lambda _: bytes(1 // 0))
    assert file.read() == b"before"
    before = file.version()
    file.change(lambda text: text + b", after")
    assert (file.read(), file.version() != before) == (b"before, after", True)


def test_a_state_directory_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "directory"):
        with pytest.raises(DaemonError, match="state directory"):
            StateFile(path / "known_hosts", 10).prepare(os.geteuid(), os.getegid())
