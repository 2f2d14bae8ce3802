"""The line about a long reading: on a terminal alone, and never in the way of other output."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tcpcryptd.cli.progress import Progress
from tests.unit.crypto.vectors import PATH

CAPTURE = PATH.parent / "a_first_full_handshake.pcap"
SECONDS = 30


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setenv("COLUMNS", "80")
    return Clock()


def test_a_line(clock: Clock) -> None:
    terminal = Terminal()
    progress = Progress(219_000_000, terminal, clock)
    progress.note(10, lambda: 1000)
    assert terminal.getvalue() == ""
    clock.now = 2.0
    progress.note(1_234_567, lambda: 73_000_000)
    progress.note(1_234_568, lambda: 73_000_001)
    assert terminal.getvalue() == "\r1,234,567 packets, 73 of 219 MB, 4 s left"
    clock.now = 6.0
    progress.note(4_000_000, lambda: 219_000_000)
    assert terminal.getvalue().endswith("\r4,000,000 packets, 219 of 219 MB, 0 s left")
    progress.clear()
    assert terminal.getvalue().endswith("left\r" + " " * 42 + "\r")
    written = len(terminal.getvalue())
    progress.clear()
    assert len(terminal.getvalue()) == written


def test_a_shorter_line_covers_a_longer_one(clock: Clock) -> None:
    terminal = Terminal()
    progress = Progress(None, terminal, clock)
    clock.now = 1.0
    progress.note(1, lambda: 10_000_000_000)
    clock.now = 2.0
    progress.note(1, lambda: 1)
    assert terminal.getvalue() == "\r1 packets, 10,000 MB\r1 packets, 0 MB     "


def test_a_narrow_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "12")
    terminal = Terminal()
    progress = Progress(1, terminal, clock)
    clock.now = 1.0
    progress.note(1000, lambda: 1)
    assert terminal.getvalue() == "\r1,000 packe"


def test_what_is_no_terminal_gets_nothing(clock: Clock) -> None:
    file = io.StringIO()
    progress = Progress(1, file, clock)
    clock.now = 9.0
    progress.note(1000, lambda: 1)
    progress.clear()
    assert file.getvalue() == ""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, its = pty.openpty()
    yield ours, its
    os.close(ours)


def test_a_command_on_a_terminal(terminal: tuple[int, int]) -> None:
    """Fed through a pipe until it has shown a line, which is gone at the end."""
    ours, its = terminal
    content = CAPTURE.read_bytes()
    head, packets = content[:24], content[24:]
    process = subprocess.Popen(
        [sys.executable, "-m", "tcpcryptd.cli.tcpcrypt_pcap", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=its,
        env=os.environ | {"COLUMNS": "80", "TERM": "xterm"},
    )
    os.close(its)
    assert process.stdin
    process.stdin.write(head)
    os.set_blocking(ours, False)
    seen = b""
    # The line comes a fifth of a second after the beginning, with whatever packet comes then.
    while b" packets, " not in seen:
        process.stdin.write(packets)
        process.stdin.flush()
        try:
            seen += os.read(ours, 4096)
        except BlockingIOError:
            assert process.poll() is None
    output, _ = process.communicate(timeout=SECONDS)
    os.set_blocking(ours, True)
    try:
        while data := os.read(ours, 4096):
            seen += data
    except OSError:
        # Linux says EIO where others say the end.
        pass
    assert process.returncode == 0
    assert output.startswith(b"1  10.77.0.1:40001 > ")
    assert seen.endswith(b" \r")
    assert b"packets" not in output


def test_without_a_terminal() -> None:
    command = [sys.executable, "-m", "tcpcryptd.cli.tcpcrypt_pcap", str(CAPTURE)]
    done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
    assert done.stderr == b""
