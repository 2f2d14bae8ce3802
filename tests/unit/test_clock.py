"""Nothing that the daemon decides depends on the time of day, which can jump, but for the validity of certificates."""

import ast

import pytest

from tests.unit.test_imports import MODULES

STEADY = {"monotonic", "sleep", "perf_counter"}
TIME_OF_DAY = {"datetime", "CLOCK_REALTIME", "localtime", "gmtime"}
TELLS_THE_TIME = {"identity.certificate", "netio.process.stderr_lines", "netio.process.wall_clock"}
"""In what people read, and where certificates say until when they are valid."""


def uses_of_the_time_of_day(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            if node.attr not in STEADY:
                found.append(f"time.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [alias.name for alias in node.names if alias.name not in STEADY]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [name for name in names if name.split(".")[0] in TIME_OF_DAY]
    return found


@pytest.mark.parametrize("module", sorted(MODULES.keys() - TELLS_THE_TIME))
def test_clocks_are_steady(module: str) -> None:
    assert uses_of_the_time_of_day(MODULES[module].read_text()) == []


@pytest.mark.parametrize(
    "source", ["import time\ntime.time()", "from time import time", "import datetime", "from datetime import datetime"]
)
def test_the_time_of_day_is_seen(source: str) -> None:
    assert uses_of_the_time_of_day(source)
