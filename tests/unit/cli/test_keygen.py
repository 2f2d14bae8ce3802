from pathlib import Path

import pytest

from tcpcryptd.cli import tcpcryptd
from tcpcryptd.crypto.identity import public_key
from tcpcryptd.crypto.ssh_keys import read_private_key
from tcpcryptd.identity.public_key import fingerprint, key_line
from tcpcryptd.netio.errors import ExitCode


def test_a_key_is_made_and_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key"
    assert tcpcryptd.main(["keygen", str(path)]) == ExitCode.OK
    public = public_key(read_private_key(path.read_bytes()))
    assert capfd.readouterr().out == f"{path}: {fingerprint(public)}\n{key_line(public)}\n"
    assert (tmp_path / "key.pub").read_text() == f"{key_line(public)}\n"
    before = path.read_bytes()
    assert tcpcryptd.main(["keygen", str(path)]) == ExitCode.FAILURE
    assert "never overwritten" in capfd.readouterr().err
    assert path.read_bytes() == before


def test_two_keys_differ(tmp_path: Path) -> None:
    for name in "ab":
        assert tcpcryptd.main(["keygen", str(tmp_path / name)]) == ExitCode.OK
    assert (tmp_path / "a.pub").read_text() != (tmp_path / "b.pub").read_text()
