from pathlib import Path

import pytest

from tcpcryptd import __version__
from tcpcryptd.cli import assembly, tcpcryptd
from tcpcryptd.cli.config import ConfigError, Settings
from tcpcryptd.cli.reload import LoadSettings
from tcpcryptd.control.codec import Request
from tcpcryptd.netio.clients.control_handlers import Caller, Pages
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.daemon import DaemonConfig
from tcpcryptd.netio.errors import DaemonError, ExitCode
from tests.unit.control.daemon import RunningServer


def test_the_version(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tcpcryptd.main(["--version"])
    assert caught.value.code == 0
    assert capfd.readouterr().out.startswith(f"tcpcryptd {__version__} (interpreted, CPython 3.")


def test_free_threaded_python_is_refused(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tcpcryptd, "is_free_threaded", lambda: True)
    assert tcpcryptd.main(["--verbose"]) == ExitCode.UNSUPPORTED
    assert "free-threaded" in capfd.readouterr().err


def test_help_names_the_exit_codes(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tcpcryptd.main(["--help"])
    text = capfd.readouterr().out
    assert all(f"\n  {code:d}  " in text for code in ExitCode)
    assert all(len(line) <= 120 for line in text.splitlines())


def test_the_settings_reach_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Settings] = []

    def run(settings: Settings, load: LoadSettings) -> int:
        given.append(settings)
        return ExitCode.OK

    monkeypatch.setattr(tcpcryptd, "run", run)
    assert tcpcryptd.main(["--port", "80", "--verbose"]) == ExitCode.OK
    assert given == [Settings(port=(80,), verbose=True)]


def test_cleanup(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[DaemonConfig] = []
    monkeypatch.setattr(tcpcryptd, "cleanup", given.append)
    assert tcpcryptd.main(["--cleanup", "--runtime-directory", "/run/b"]) == ExitCode.OK
    assert [config.runtime_directory for config in given] == [Path("/run/b")]


def test_flushing_the_cache_of_the_running_daemon(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[Caller] = []

    def handle(request: Request, caller: Caller) -> Pages:
        asked.append(caller)
        if len(asked) > 1:
            raise Refused("EPERM", "only root may do that")
        assert request.command == "flush_cache"
        yield {"flushed": 12}

    server = RunningServer(tmp_path / "control.sock", handle)
    try:
        options = ["--flush-cache", "--runtime-directory", str(tmp_path)]
        assert tcpcryptd.main(options) == ExitCode.OK
        assert "12 sessions forgotten" in capfd.readouterr().err
        assert tcpcryptd.main(options) == ExitCode.PERMISSION
        assert "only root" in capfd.readouterr().err
    finally:
        server.stop()
    assert tcpcryptd.main(options) == ExitCode.FAILURE
    assert "not running" in capfd.readouterr().err


def test_a_suite_that_there_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        tcpcryptd.main(["--suites", "ROT13"])
    assert ended.value.code == ExitCode.USAGE
    message = capfd.readouterr().err
    assert all(name in message for name in ("X25519-HPKE", "RSA-2048", "AES-256-GCM-SIV", "AES128-CTR-SEQIV/HMAC-SHA1"))


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ConfigError("not a port"), ExitCode.USAGE),
        (DaemonError("no iptables: install it", ExitCode.UNSUPPORTED), ExitCode.UNSUPPORTED),
        (DaemonError("broken"), ExitCode.FAILURE),
    ],
)
def test_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception, exit_code: int
) -> None:
    def run(settings: Settings, load: LoadSettings) -> int:
        raise error

    monkeypatch.setattr(tcpcryptd, "run", run)
    assert tcpcryptd.main([]) == exit_code
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(f"error: {error}")


def test_an_interrupt_while_starting(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def run(settings: Settings, load: LoadSettings) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(tcpcryptd, "run", run)
    assert tcpcryptd.main([]) == ExitCode.FAILURE
    assert capfd.readouterr().err.endswith("error: interrupted while starting\n")


def test_a_broken_configuration_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tcpcryptd.toml"
    path.write_text("prot = 80")
    assert tcpcryptd.main(["--config", str(path)]) == ExitCode.USAGE
    assert f"{path}: unknown key 'prot'" in capfd.readouterr().err


def test_the_shell_is_told_what_the_settings_say() -> None:
    config = assembly.daemon_config(
        Settings(
            port=(80,),
            exclude_port=(25,),
            interface=("eth0",),
            workers=1,
            queue=7,
            mark_mask=0x700,
            firewall="none",
            user="x",
        )
    )
    assert config.selection.ports == (80,)
    assert config.selection.exclude_ports == (25,)
    assert config.selection.interfaces == ("eth0",)
    assert config.queues.all == (7, 8, 9)
    assert config.marks.mask == 0x700
    assert config.firewall is None
    assert config.user == "x"


def test_too_many_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than"):
        assembly.daemon_config(Settings(port=tuple(range(1, 1000))))


def test_queues_for_all_workers() -> None:
    config = assembly.daemon_config(Settings(queue=100, workers=3))
    assert config.queues.all == tuple(range(100, 109))
    with pytest.raises(ConfigError, match="must be different numbers from 0 to 65535"):
        assembly.daemon_config(Settings(queue=65533, workers=2))
