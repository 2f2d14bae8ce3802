"""Commands whose standard output is full, closed, or not read to the end, as processes of their own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.control.daemon import RunningServer
from tests.unit.crypto.vectors import PATH

RECORDING = str(PATH.parent / "a_first_full_handshake.pcap")
# What a command calls itself, its module, and what it is given.
COMMANDS = {
    "table": ("tcnetstat", "cli.tcnetstat", ["--watch", "0.01"]),
    "metrics": ("tcnetstat", "cli.tcnetstat", ["--metrics"]),
    "help": ("tcpcryptd", "cli.tcpcryptd", ["--help"]),
    "text": ("tcpcrypt-pcap", "cli.tcpcrypt_pcap", [RECORDING, "--text"]),
    "find": ("tcpcrypt-pcap", "cli.tcpcrypt_pcap", [RECORDING, "--find", "nothing of the kind"]),
    "doctor": ("tcpcryptd doctor", "cli.tcpcryptd", ["doctor", "--no-self-test"]),
    "packets": ("dissect", "dissect", [RECORDING]),
    "rules": ("firewall", "netio.firewall.command", ["--print"]),
    "rules' help": ("firewall", "netio.firewall.command", ["--help"]),
}
EACH = pytest.mark.parametrize("command", COMMANDS)
Run = Callable[[str, str], subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs one of these with its output redirected, as a shell writes it."""
    server = RunningServer(tmp_path / "control.sock")

    def started(command: str, redirection: str) -> subprocess.CompletedProcess[str]:
        _, module, arguments = COMMANDS[command]
        words = [sys.executable, "-m", f"tcpcryptd.{module}", *arguments]
        shell = ["sh", "-c", f'"$@" {redirection}; echo $? >&2', "sh", *words]
        environment = os.environ | {"TCPCRYPTD_SOCKET": str(server.path)}
        return subprocess.run(shell, capture_output=True, text=True, env=environment, timeout=60, check=False)

    yield started
    server.stop()


@EACH
def test_a_full_disk(run: Run, command: str) -> None:
    said, code = run(command, ">/dev/full").stderr.splitlines()
    assert said == f"{COMMANDS[command][0]}: standard output: No space left on device"
    assert int(code) == (2 if command == "doctor" else 1)


@pytest.mark.parametrize("command", ["table", "metrics", "text", "find", "packets", "rules"])
def test_a_closed_descriptor(run: Run, command: str) -> None:
    said, code = run(command, ">&-").stderr.splitlines()
    assert said == f"{COMMANDS[command][0]}: standard output: Bad file descriptor"
    assert code == "1"


@EACH
def test_a_reader_that_has_seen_enough(run: Run, command: str) -> None:
    """It is not said, as with other commands."""
    done = run(command, "| true")
    assert "Traceback" not in done.stderr
    assert "rror" not in done.stderr
