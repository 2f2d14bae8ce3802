import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import pytest

from tcpcryptd.cli import tcnetstat
from tcpcryptd.cli.screen import Screen
from tcpcryptd.cli.session_table import LONG_COLUMNS, SESSION_COLUMNS, STATE_COLUMNS
from tcpcryptd.cli.table import as_table
from tcpcryptd.control.errors import ControlPermissionDenied, DaemonNotRunning
from tcpcryptd.records.address import Address
from tcpcryptd.records.connection_info import ConnectionInfo, ConnectionState, PeerInfo
from tcpcryptd.records.host_info import HostInfo
from tests.unit.control.daemon import RunningServer
from tests.unit.control.samples import record


class FakeClient:
    """Answers with what the test chose."""

    records: tuple[ConnectionInfo, ...] = ()
    hosts: tuple[HostInfo, ...] = ()
    rekeyed: ClassVar[list[tuple[Address, Address]]] = []
    values: ClassVar[dict[str, int]] = {}

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def sessions(self, *, include_plain: bool = False) -> list[ConnectionInfo]:
        return [each for each in self.records if include_plain or each.state == "encrypted"]

    def peers(self) -> list[HostInfo]:
        return list(self.hosts)

    def counters(self) -> dict[str, int]:
        return self.values

    def rekey(self, local: Address, remote: Address) -> None:
        self.rekeyed.append((local, remote))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    monkeypatch.setattr(tcnetstat, "ControlClient", FakeClient)
    monkeypatch.setattr(FakeClient, "records", (record(80), record(81, "plain", "no option in the reply\x1b[2J")))
    return FakeClient


@pytest.mark.usefixtures("client")
def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert tcnetstat.main([]) == 0
    assert capsys.readouterr().out == (
        "Local address     Foreign address    SessID\n"
        "192.0.2.1:40000   [2001:db8::2]:80   000102030405060708090a0b0c0d0e0f10111213\n"
    )


@pytest.mark.usefixtures("client")
def test_all_says_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert tcnetstat.main(["--all"]) == 0
    heading, encrypted, plain = capsys.readouterr().out.splitlines()
    assert heading.split() == ["Local", "address", "Foreign", "address", "SessID", "State", "Reason"]
    assert encrypted.split()[2:] == ["000102030405060708090a0b0c0d0e0f10111213", "encrypted", "-"]
    assert plain.split(maxsplit=4)[1:] == ["[2001:db8::2]:81", "-", "plain", "no option in the reply?[2J"]


def test_long_tells_the_rest(capsys: pytest.CaptureFixture[str], client: type[FakeClient]) -> None:
    unknown = replace(record(), suite=None, role=None)
    web1, unnamed = PeerInfo("authenticated", "web1", "SHA256:x", None), PeerInfo("unknown", None, None, "why")
    records = (
        replace(record(), owner=0, age=59.9, bytes_sent=9999, bytes_received=10_000, peer=web1),
        replace(
            unknown, owner=2**32 - 2, age=3_600 * 49, resumed=True, post_quantum=True, peer_aware=True, peer=unnamed
        ),
    )
    client.records = records
    assert tcnetstat.main(["--long"]) == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert (
        " ".join(heading.split()[5:]) == "Suite Role Resumed Post-quantum Aware Age Sent Received Owner Peer Peer's key"
    )
    suite = records[0].suite
    assert first.split()[3:] == [suite, "client", "no", "no", "no", "59s", "9999", "10k", "root", "web1", "SHA256:x"]
    assert second.split()[3:] == ["-", "-", "yes", "yes", "yes", "2d1h", "10", "20", str(2**32 - 2), "(unknown)", "-"]


def test_peers(capsys: pytest.CaptureFixture[str], client: type[FakeClient]) -> None:
    client.hosts = (
        HostInfo("192.0.2.1", PeerInfo("authenticated", "web1", "SHA256:x", None), 61.0, 2),
        HostInfo("2001:db8::1", PeerInfo("changed", None, "SHA256:y", "another\x1b key"), 3_700.0, 0),
    )
    assert tcnetstat.main(["--peers"]) == 0
    assert capsys.readouterr().out == (
        "Peer        Address       Peer's key   Last seen   Connections\n"
        "web1        192.0.2.1     SHA256:x     1m1s        2\n"
        "(changed)   2001:db8::1   SHA256:y     1h1m        0\n"
    )
    assert tcnetstat.main(["--peers", "--long"]) == 0
    assert capsys.readouterr().out.splitlines()[2].endswith("0             another? key")
    assert tcnetstat.main(["--peers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [each.to_message() for each in client.hosts]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.9, "0s"), (60.0, "1m0s"), (3_599.0, "59m59s"), (86_399.0, "23h59m"), (86_400.0, "1d0h")]
)
def test_ages(capsys: pytest.CaptureFixture[str], client: type[FakeClient], seconds: float, shown: str) -> None:
    client.records = (replace(record(), age=seconds),)
    tcnetstat.main(["--long"])
    assert shown in capsys.readouterr().out.split()


def test_watching_prints_again_until_the_daemon_is_gone(
    capsys: pytest.CaptureFixture[str], client: type[FakeClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [(record(80),), (record(81),)]

    def sessions(self: FakeClient, *, include_plain: bool = False) -> list[ConnectionInfo]:
        if not left:
            raise DaemonNotRunning("tcpcryptd is not running")
        return list(left.pop(0))

    monkeypatch.setattr(client, "sessions", sessions)
    assert tcnetstat.main(["--watch", "0.001", "--json"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)[0]["remote"]["port"] for line in lines] == [80, 81]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "often"])
def test_how_often(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit) as ended:
        tcnetstat.main([f"--watch={seconds}"])
    assert ended.value.code == 2
    assert "number of seconds" in capsys.readouterr().err


def test_rekeying(client: type[FakeClient]) -> None:
    client.rekeyed.clear()
    assert tcnetstat.main(["--rekey", "192.0.2.1:40000", "[2001:db8::2]:80"]) == 0
    assert client.rekeyed == [(Address("192.0.2.1", 40000), Address("2001:db8::2", 80))]


@pytest.mark.parametrize("end", ["192.0.2.1", "192.0.2.1:99999", "host:80", "[::1]:"])
def test_what_is_no_end(capsys: pytest.CaptureFixture[str], end: str) -> None:
    with pytest.raises(SystemExit) as ended:
        tcnetstat.main(["--rekey", "192.0.2.1:1", end])
    assert ended.value.code == 2
    assert end in capsys.readouterr().err


def test_nothing_but_the_heading(capsys: pytest.CaptureFixture[str], client: type[FakeClient]) -> None:
    client.records = ()
    assert tcnetstat.main([]) == 0
    assert capsys.readouterr().out == "Local address   Foreign address   SessID\n"


@pytest.mark.usefixtures("client")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert tcnetstat.main(["--json", "--all"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [ConnectionInfo.from_message(row).state for row in rows] == ["encrypted", "plain"]


def test_a_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = RunningServer(tmp_path / "control.sock")
    try:
        assert tcnetstat.main(["--socket", str(server.path)]) == 0
    finally:
        server.stop()
    assert (80).to_bytes(20, "big").hex() in capsys.readouterr().out


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "control.sock")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "import sys; from tcpcryptd.cli.tcnetstat import main; sys.exit(main())"]
    try:
        done = subprocess.run(
            [*command, "--socket", str(server.path)],
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=Path(tcnetstat.__file__).parents[2],
            timeout=30,
            check=False,
        )
    finally:
        os.close(writing)
        server.stop()
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_daemon_is_not_running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tcnetstat.main(["--socket", str(tmp_path / "control.sock")]) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert "tcpcryptd is not running" in output.err


def test_another_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(path: Path | None) -> None:
        raise ControlPermissionDenied("permission denied")

    monkeypatch.setattr(tcnetstat, "ControlClient", refuse)
    assert tcnetstat.main([]) == 1
    assert "permission denied" in capsys.readouterr().err


def test_a_key_log_is_not_kept_quiet(
    client: type[FakeClient], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tcnetstat.main([]) == tcnetstat.EXIT_OK
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(client, "values", {"keylog_on": 1})
    assert tcnetstat.main(["--json"]) == tcnetstat.EXIT_OK
    shown = capsys.readouterr()
    assert "warning: tcpcryptd writes the keys of all connections to a file" in shown.err
    assert json.loads(shown.out)


SHOWN = (
    record(80),
    replace(record(81), state=ConnectionState.PLAIN, reason="no option"),
    replace(record(82), state=ConnectionState.CLOSED),
)


@pytest.mark.parametrize("width", [1, 70, 80, 100, 132, 500])
def test_a_long_table_fits_the_terminal(width: int) -> None:
    """A column is never wrapped: those that do not fit come on a line of their own."""
    columns = (*SESSION_COLUMNS, *LONG_COLUMNS, *STATE_COLUMNS)
    lines = as_table(SHOWN, columns, Screen(width, colours=False)).splitlines()
    cells = [content(SHOWN[0]) for _, content in columns]
    assert max(map(len, lines)) <= max(width, max(map(len, cells)) + 4)
    assert len(lines) % 4 == 0
    height = len(lines) // 4
    assert (height == 1) == (width == 500)
    assert re.split(r" {3,}", "   ".join(line.strip() for line in lines[height : 2 * height])) == cells
    headings = [line for number, line in enumerate(lines) if number % height == 0]
    assert not any(line.startswith(" ") for line in headings)
    assert all(line.startswith("    ") for number, line in enumerate(lines) if number % height)


def test_states_have_colours() -> None:
    columns = (*SESSION_COLUMNS, *STATE_COLUMNS)
    painted = as_table(SHOWN, columns, Screen(500, colours=True))
    assert "\x1b[32mencrypted\x1b[0m" in painted
    assert "\x1b[31mplain\x1b[0m" in painted
    plain = as_table(SHOWN, columns, Screen(500, colours=False))
    assert plain == as_table(SHOWN, columns)
    assert re.sub(r"\x1b\[[0-9]+m", "", painted) == plain


@pytest.mark.parametrize(
    ("environment", "colours"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_when_there_are_colours(environment: dict[str, str], colours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TERM", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    controller, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        assert Screen.of(stream) == Screen(80, colours)
    os.close(controller)
    with open(os.devnull, "w") as stream:
        assert Screen.of(stream) is None
    assert Screen.of(None) is None
