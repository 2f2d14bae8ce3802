"""Daemons of an earlier revision, which does not know post-quantum key agreements."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.harness.daemon import Daemon
from tests.e2e.harness.namespace import ROOT

REVISION = "d9ac0b3"


def earlier_package(directory: Path) -> Path:
    """Its package, interpreted, in a directory that is there; skips the test where the history does not have it."""
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "archive", REVISION, "tcpcryptd"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"the history has no {REVISION}")
    subprocess.run(["tar", "-x", "-C", str(directory)], input=done.stdout, check=True)
    return directory


@contextmanager
def earlier_daemons(package: Path) -> Iterator[None]:
    """Daemons that are started meanwhile are the earlier revision's, without options that it does not know."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TCPCRYPTD_PACKAGE", str(package))
        patch.setattr(Daemon, "firewall", None)
        yield
