"""Another revision of this repository, compiled, to be measured beside this one."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.harness.namespace import ROOT

PACKAGE = "TCPCRYPTD_PACKAGE"
"""The environment variable that names the package whose commands are run; see tests/e2e/harness/daemon.py."""


class NoSuchRevision(ValueError):
    """Git knows no commit of this name."""


def commit_of(revision: str) -> str:
    """The commit's hash; raises NoSuchRevision."""
    try:
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    except subprocess.CalledProcessError as error:
        raise NoSuchRevision(revision) from error


def build(revision: str, directory: Path) -> Path:
    """The revision's package under the directory, compiled as this one's is. Raises RuntimeError when that fails."""
    unpack(revision, directory)
    (directory / ".venv").symlink_to(ROOT / ".venv")
    subprocess.run(["sh", "scripts/compile.sh"], cwd=directory, check=True)
    package = directory / "build/compiled"
    if not any(package.rglob("*.so")):
        raise RuntimeError(f"{revision} could not be compiled: {(directory / 'build/compile.log').read_text()[-2000:]}")
    return package


def is_compiled() -> bool:
    """Whether the package whose commands are run, this revision's, is compiled."""
    package = os.environ.get(PACKAGE, "")
    return package != "" and any(Path(package).rglob("*.so"))


def unpack(revision: str, directory: Path) -> None:
    """The revision's files into the directory."""
    subprocess.run(["tar", "-x", "-C", str(directory)], input=_git("archive", commit_of(revision)), check=True)


@contextlib.contextmanager
def commands_of(package: Path | None) -> Iterator[None]:
    """Daemons that are started meanwhile are this package's; None: this revision's."""
    before = os.environ.get(PACKAGE)
    if package is not None:
        os.environ[PACKAGE] = str(package)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(PACKAGE, None)
        else:
            os.environ[PACKAGE] = before


def _git(*arguments: str) -> bytes:
    # The repository need not be root's.
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout
