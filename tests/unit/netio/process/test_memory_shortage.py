import logging

import pytest
from cryptography.exceptions import InternalError

from tcpcryptd.netio.process.memory_shortage import MemoryShortage

OPENSSL = "Unknown OpenSSL error. (error:078C0100:common libcrypto routines::malloc failure:crypto/param_build.c:475:)"
"""What cryptography 50.0.2 raised when OpenSSL had no memory to show a key."""

PYTHON = (
    "error return without exception set",
    "<built-in function ord> returned NULL without setting an exception",
)
"""What CPython 3.11.2 raised when it had none for a call; ceval.c, python/cpython issue 153205."""


def test_an_action_is_started_again_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    relieved: list[int] = []
    shortage = MemoryShortage(lambda: relieved.append(shortage.count))
    attempts = iter([MemoryError(), InternalError(OPENSSL, []), *(SystemError(text) for text in PYTHON), None])

    def action() -> None:
        error = next(attempts)
        if error is not None:
            raise error

    with caplog.at_level(logging.ERROR):
        shortage.endure(action)
    assert relieved == [1, 2, 3, 4]
    assert shortage.counters() == {"memory_shortages": 4}
    assert caplog.text.count("out of memory") == 1


def test_no_memory_for_the_relief_either() -> None:
    attempts = iter([MemoryError, None])

    def action() -> None:
        error = next(attempts)
        if error is not None:
            raise error

    def relieve() -> None:
        raise MemoryError

    shortage = MemoryShortage(relieve)
    shortage.endure(action)
    assert shortage.count == 1


@pytest.mark.parametrize("error", [KeyError(), InternalError("Unknown OpenSSL error.", [])])
def test_other_exceptions_pass(error: Exception) -> None:
    def action() -> None:
        raise error

    with pytest.raises(type(error)):
        MemoryShortage(lambda: None).endure(action)

    def run_short() -> None:
        raise MemoryError

    with pytest.raises(type(error)):
        MemoryShortage(action).endure(run_short)
