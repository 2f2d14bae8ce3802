import contextlib
import os
import select
import socket
from collections.abc import Callable, Iterator

import pytest

from tcpcryptd.cli import log
from tcpcryptd.cli.log import log_event, set_up_log
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import (
    Closed,
    Disabled,
    Event,
    Identified,
    IntegrityFailure,
    InternalError,
    Negotiated,
    PeerRefused,
)
from tcpcryptd.core.peer_identity import Outcome, PeerIdentity
from tcpcryptd.netio.process.stderr_lines import is_the_journal

LOCAL, REMOTE = Endpoint("192.0.2.1", 40000), Endpoint("2001:db8::2", 80)
NEGOTIATED = Negotiated(LOCAL, REMOTE, "crypt", bytes(20), "AES128-CTR-SEQIV/HMAC-SHA1", "client")
LINES: list[tuple[Event, str]] = [
    (
        NEGOTIATED,
        f"<6>192.0.2.1:40000 [2001:db8::2]:80 encrypted, session {'00' * 20}, AES128-CTR-SEQIV/HMAC-SHA1, client",
    ),
    (
        Negotiated(LOCAL, REMOTE, "eno", None, "suite", "A", resumed=True, post_quantum=True),
        f"<6>{LOCAL} {REMOTE} encrypted, session -, suite, A, resumed, post-quantum",
    ),
    (
        Identified(LOCAL, REMOTE, PeerIdentity(Outcome.AUTHENTICATED, "web1", "SHA256:x")),
        f"<6>{LOCAL} {REMOTE} authenticated: web1, SHA256:x",
    ),
    (
        Identified(LOCAL, REMOTE, PeerIdentity(Outcome.INVALID, reason="the certificate expired")),
        f"<4>warning: {LOCAL} {REMOTE} the certificate expired",
    ),
    (PeerRefused(LOCAL, REMOTE, "its key is revoked"), f"<4>warning: {LOCAL} {REMOTE} refused: its key is revoked"),
    (
        IntegrityFailure(LOCAL, REMOTE),
        f"<4>warning: {LOCAL} {REMOTE} segment dropped: it is not authentic",
    ),
    (InternalError("KeyError at x.py:1"), "<3>error: bug in tcpcryptd: KeyError at x.py:1"),
]
QUIET_LINES: list[tuple[Event, str]] = [
    (
        Disabled(LOCAL, REMOTE, "nothing is offered"),
        "<7>192.0.2.1:40000 [2001:db8::2]:80 not encrypted: nothing is offered",
    ),
    (
        Identified(LOCAL, REMOTE, PeerIdentity(Outcome.ABSENT, reason="it has none")),
        f"<7>{LOCAL} {REMOTE} it has none",
    ),
    (Closed(LOCAL, REMOTE), "<7>192.0.2.1:40000 [2001:db8::2]:80 closed"),
]


@pytest.fixture(autouse=True)
def _in_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "is_the_journal", lambda: True)


def logged(event: Event, verbose: bool, capfd: pytest.CaptureFixture[str]) -> str:
    set_up_log(verbose)
    log_event(event)
    output = capfd.readouterr()
    assert output.out == ""
    return output.err


@pytest.mark.parametrize(("event", "line"), LINES)
def test_lines(event: Event, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert logged(event, False, capfd) == line + "\n"


@pytest.mark.parametrize(("event", "line"), QUIET_LINES)
def test_lines_of_a_verbose_log(event: Event, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert logged(event, False, capfd) == ""
    assert logged(event, True, capfd) == line + "\n"


def test_lines_have_the_time_outside_of_the_journal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log, "is_the_journal", lambda: False)
    date, clock, *_ = logged(NEGOTIATED, False, capfd).split()
    assert (len(date), len(clock)) == (10, 8)


def test_where_the_journal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service whose stderr goes elsewhere inherits the variable, too."""
    about = os.fstat(2)
    for value, there in ((f"{about.st_dev}:{about.st_ino}", True), ("1:2", False), ("", False)):
        monkeypatch.setenv("JOURNAL_STREAM", value)
        assert is_the_journal() is there
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not is_the_journal()


@contextlib.contextmanager
def stderr_to(descriptor: int) -> Iterator[None]:
    before = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def pipe() -> tuple[int, int]:
    return os.pipe()


def stream() -> tuple[int, int]:
    ends = socket.socketpair()
    return ends[0].detach(), ends[1].detach()


@pytest.mark.parametrize("ends", [pipe, stream])
def test_a_reader_that_hangs_holds_nobody_up(ends: Callable[[], tuple[int, int]]) -> None:
    reader, writer = ends()
    with stderr_to(writer):
        set_up_log(False)
        for _ in range(20_000):
            log_event(NEGOTIATED)
        got = os.read(reader, 1 << 24)
        while select.select([reader], [], [], 0)[0]:
            got += os.read(reader, 1 << 24)
        log_event(NEGOTIATED)
        log_event(NEGOTIATED)
        end = os.read(reader, 1 << 24)
    lost, line, again = end.decode().splitlines()
    assert line == again == LINES[0][1]
    assert lost == f"<4>{20_000 - got.count(b'encrypted')} lines of the log were lost: they could not be written"
    # The description of a pipe that others have too is as it was.
    assert os.get_blocking(writer)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("ends", [pipe, stream])
def test_a_reader_that_is_gone(ends: Callable[[], tuple[int, int]]) -> None:
    reader, writer = ends()
    with stderr_to(writer):
        set_up_log(False)
        os.close(reader)
        log_event(NEGOTIATED)
    os.close(writer)
