"""The Debian package, installed under a real systemd that runs on a copy of this host."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BOOT_SECONDS = 110


def test_the_package_does_what_an_administrator_expects(tmp_path: Path) -> None:
    (package,) = (ROOT / "dist").glob("*.deb")
    command = ["sh", str(HERE / "boot.sh"), str(package), str(HERE / "scenario.sh"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOOT_SECONDS)
    log = tmp_path / "log"
    console = tmp_path / "console"
    output = log.read_text() if log.exists() else done.stderr + (console.read_text() if console.exists() else "")
    steps = [line for line in output.splitlines() if line.startswith(("ok ", "FAILED "))]
    assert steps, output
    assert all(line.startswith("ok ") for line in steps), output
    assert steps[-1] == "ok the directory is gone"
