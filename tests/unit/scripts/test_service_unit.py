"""The systemd unit, as far as it can be tried without a systemd that runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tcpcryptd.netio.errors import ExitCode

UNIT = Path(__file__).resolve().parents[3] / "packaging" / "systemd" / "tcpcryptd.service"
MOST_EXPOSED = 35
"""In tenths, of 10; docs/systemd.md says why it is not less."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with commands that are there."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/tcpcryptd", "/bin/true"))
    return copy


@needs_systemd
def test_systemd_understands_it(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_sandbox_stays_closed(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_what_is_not_tried_again() -> None:
    (line,) = (line for line in UNIT.read_text().splitlines() if line.startswith("RestartPreventExitStatus="))
    hopeless = {ExitCode.USAGE, ExitCode.PERMISSION, ExitCode.UNSUPPORTED}
    assert {int(code) for code in line.partition("=")[2].split()} == hopeless
