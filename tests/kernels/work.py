"""Where packages and results are kept, and how tests are told of the slow processors."""

import os
from pathlib import Path

_WORK = Path("build/kernels").absolute()
APT = _WORK / "apt"
RESULTS = _WORK / "results"
TABLE = _WORK / "result.md"

PATIENCE = 16
"""Emulated processors are about half so much slower, on a machine that does nothing else."""
PATIENCE_IN_USER_MODE = 8
"""On a machine that does much else."""
_PACKAGE = os.environ.get("TCPCRYPTD_PACKAGE", str(Path("build/compiled").absolute()))


def environment(is_user_mode: bool) -> tuple[str, str]:
    """For tests."""
    patience = PATIENCE_IN_USER_MODE if is_user_mode else PATIENCE
    return f"TCPCRYPTD_TEST_PATIENCE={patience}", f"TCPCRYPTD_PACKAGE={_PACKAGE}"
