"""Leaves the package's log as the tests found it."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    log = logging.getLogger("tcpcryptd")
    before = log.handlers[:], log.level, log.propagate
    log.handlers[:] = []
    yield
    for handler in log.handlers:
        handler.close()
    log.handlers[:], log.level, log.propagate = before
