"""Daemons that refuse their options, and daemons that fail."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bench.revision import commands_of
from bench.route import Unavailable
from bench.variants import VARIANTS, Daemons, tcpcryptd, wait_ready, with_earlier
from tcpcryptd.netio.errors import ExitCode
from tests.e2e.harness import Daemon, HarnessError
from tests.e2e.harness.daemon import entry_point


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


def test_another_revision_of_each_daemon_follows_it() -> None:
    package = Path("/nowhere")
    variants = with_earlier(VARIANTS, "v1", package)
    names = [variant.name for variant in variants]
    assert names[:5] == ["plain", "crypt", "crypt@v1", "crypt-original", "crypt-original@v1"]
    daemons = ("crypt", "crypt-original", "eno", "crypt-x25519", "eno-x25519")
    assert {name for name in names if "@" in name} == {f"{name}@v1" for name in daemons}
    assert names.count("ssh") == 1
    assert variants[2].start == Daemons((), package)
    assert variants[2].start_fresh == Daemons(("--no-cache",), package)


def test_only_its_daemons_are_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPCRYPTD_PACKAGE", "/ours")
    with commands_of(Path("/theirs")):
        assert "'/theirs'" in entry_point("tcpcryptd")[-1]
    with commands_of(None):
        assert "'/ours'" in entry_point("tcpcryptd")[-1]
    monkeypatch.delenv("TCPCRYPTD_PACKAGE")
    with commands_of(Path("/theirs")):
        assert "'/theirs'" in entry_point("tcpcryptd")[-1]
    assert "/theirs" not in entry_point("tcpcryptd")[-1]


def test_plain_comes_first() -> None:
    assert VARIANTS[0].name == "plain"
