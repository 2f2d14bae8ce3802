"""Daemons that refuse their options, and daemons that fail."""

from types import SimpleNamespace
from typing import cast

import pytest

from bench.route import Unavailable
from bench.variants import VARIANTS, Daemons, tcpcryptd, wait_ready
from tcpcryptd.netio.errors import ExitCode
from tests.e2e.harness import Daemon, HarnessError


def ended(exit_code: int, log: str) -> Daemon:
    """A daemon that has ended before it was ready."""

    def wait_ready() -> None:
        raise HarnessError("it ended")

    return cast(
        Daemon,
        SimpleNamespace(wait_ready=wait_ready, running=lambda: False, wait=lambda: exit_code, log=lambda: log),
    )


def test_a_daemon_that_does_not_know_its_options_is_skipped_with_its_own_words() -> None:
    daemon = ended(ExitCode.USAGE, "usage: ...\ntcpcryptd: error: unrecognized arguments: --protocol eno\n")
    with pytest.raises(Unavailable, match=r"refuses --protocol eno: .* unrecognized arguments"):
        wait_ready(daemon, ("--protocol", "eno"))


def test_a_daemon_that_fails_is_a_failure() -> None:
    with pytest.raises(HarnessError, match="it ended"):
        wait_ready(ended(ExitCode.FAILURE, "no queue\n"), ())


def test_fresh_connections_are_those_without_a_cache() -> None:
    variant = tcpcryptd("eno", "--protocol", "eno")
    assert variant.start == Daemons(("--protocol", "eno"))
    assert variant.start_fresh == Daemons(("--protocol", "eno", "--no-cache"))


def test_plain_comes_first() -> None:
    assert VARIANTS[0].name == "plain"
