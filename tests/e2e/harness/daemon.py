"""A running tcpcryptd on a host."""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness.process import HarnessError, wait_until

if TYPE_CHECKING:
    from tests.e2e.harness.host import Host

FIREWALL = os.environ.get("TCPCRYPTD_TEST_FIREWALL", "iptables")
"""Whose rules the daemons under test have."""
OF_IPTABLES = pytest.mark.skipif(FIREWALL != "iptables", reason="about rules of iptables")
START_SECONDS = 45.0
STOP_SECONDS = 45.0


def entry_point(command: str) -> list[str]:
    """The command line of a command of this checkout, whether it is installed or not.

    Of the package in the directory that TCPCRYPTD_PACKAGE names, if it is set: `make compiled` builds one.
    """
    path = os.environ.get("TCPCRYPTD_PACKAGE")
    search = f"sys.path.insert(0, {path!r}); " if path else ""
    return [sys.executable, "-c", f"import sys; {search}from tcpcryptd.cli.{command} import main; sys.exit(main())"]


class Daemon:
    """One run of tcpcryptd: started, ready when it answers on its control socket, stopped or killed."""

    firewall: str | None = FIREWALL
    """None: the daemon's own choice."""

    def __init__(self, host: "Host", options: tuple[str, ...], log: Path, wrapper: Sequence[str] = ()) -> None:
        """`wrapper`: a command that ends by executing its arguments."""
        self.options = options
        self._host = host
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        named = self.firewall is None or {"--firewall", "--no-firewall"} & {*options}
        chosen = () if named else ("--firewall", str(self.firewall))
        self.process = host.namespace.spawn([*wrapper, *entry_point("tcpcryptd"), *chosen, *options], log=log)

    @property
    def pid(self) -> int:
        """The daemon's process ID."""
        return self.process.pid

    def processes(self) -> list[int]:
        """The process IDs of the daemon and its workers, and of iptables, when it runs at this moment."""
        found = [self.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += map(int, children.read_text().split())
        return found

    def pause(self) -> None:
        """Stops all of them (SIGSTOP) until `resume`."""
        self._send_to_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets them go on."""
        self._send_to_all(signal.SIGCONT)

    def _send_to_all(self, number: signal.Signals) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def log(self) -> str:
        """What this run has written to stderr."""
        return self._log.read_bytes()[self._log_start :].decode(errors="replace")

    def running(self) -> bool:
        """False once the process has ended."""
        return self.process.poll() is None

    def wait_ready(self) -> None:
        """Returns when the daemon answers; raises HarnessError with its log when it ends or takes too long."""
        try:
            wait_until(lambda: not self.running() or self._host.daemon_answers(), "the daemon answers", START_SECONDS)
        except HarnessError as late:
            raise HarnessError(f"{late}\n{self.log()}") from late
        if not self.running():
            raise HarnessError(f"the daemon ended with exit code {self.process.returncode}:\n{self.log()}")

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit code, once the daemon has ended by itself."""
        wait_until(lambda: not self.running(), f"the daemon ends\n{self.log()}", seconds)
        return int(self.process.returncode)

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Orderly stop; the exit code."""
        os.kill(self.pid, by)
        return self.wait()

    def kill(self) -> None:
        """Ends the daemon without giving it a chance (SIGKILL)."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def status(self) -> dict[str, str]:
        """The fields of /proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
