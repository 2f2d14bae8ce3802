"""Where packages and results are kept, and how tests are told of the slow processors."""

import os
from pathlib import Path

_WORK = Path("build/kernels").absolute()
APT = _WORK / "apt"
RESULTS = _WORK / "results"
TABLE = _WORK / "result.md"

PATIENCE = 16
"""Emulated processors are about half so much slower, on a machine that does nothing else."""
_PACKAGE = os.environ.get("TCPCRYPTD_PACKAGE", str(Path("build/compiled").absolute()))
ENVIRONMENT = (f"TCPCRYPTD_TEST_PATIENCE={PATIENCE}", f"TCPCRYPTD_PACKAGE={_PACKAGE}")
