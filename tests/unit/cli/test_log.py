import logging
from collections.abc import Iterator

import pytest

from tcpcryptd.cli.log import log_event, set_up_log
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import (
    Closed,
    ConnectionInfo,
    Disabled,
    Event,
    IntegrityFailure,
    InternalError,
    Negotiated,
)
from tcpcryptd.core.verdict import ConnectionClass

LOCAL, REMOTE = Endpoint("192.0.2.1", 40000), Endpoint("2001:db8::2", 80)
NEGOTIATED = Negotiated(
    ConnectionInfo(
        LOCAL,
        REMOTE,
        ConnectionClass.ENCRYPTED,
        session_id=bytes(20),
        role="client",
        suite="AES128-CTR-SEQIV/HMAC-SHA1",
    )
)
LINES: list[tuple[Event, str]] = [
    (
        NEGOTIATED,
        f"192.0.2.1:40000 [2001:db8::2]:80 encrypted, session {'00' * 20}, AES128-CTR-SEQIV/HMAC-SHA1, client",
    ),
    (IntegrityFailure(LOCAL, REMOTE), "warning: 192.0.2.1:40000 [2001:db8::2]:80 segment dropped: it is not authentic"),
    (InternalError("KeyError at x.py:1"), "error: bug in tcpcryptd: KeyError at x.py:1"),
]
QUIET_LINES: list[tuple[Event, str]] = [
    (
        Disabled(LOCAL, REMOTE, "nothing is offered"),
        "192.0.2.1:40000 [2001:db8::2]:80 not encrypted: nothing is offered",
    ),
    (Closed(LOCAL, REMOTE), "192.0.2.1:40000 [2001:db8::2]:80 closed"),
]


@pytest.fixture(autouse=True)
def _log_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    log = logging.getLogger("tcpcryptd")
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = before


def logged(event: Event, verbose: bool, capsys: pytest.CaptureFixture[str]) -> str:
    set_up_log(verbose)
    log_event(event)
    output = capsys.readouterr()
    assert output.out == ""
    return output.err


@pytest.mark.parametrize(("event", "line"), LINES)
def test_lines(event: Event, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert logged(event, False, capsys) == line + "\n"


@pytest.mark.parametrize(("event", "line"), QUIET_LINES)
def test_lines_of_a_verbose_log(event: Event, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert logged(event, False, capsys) == ""
    assert logged(event, True, capsys) == line + "\n"


def test_lines_have_the_time_outside_of_the_journal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM")
    date, clock, *_ = logged(NEGOTIATED, False, capsys).split()
    assert (len(date), len(clock)) == (10, 8)
