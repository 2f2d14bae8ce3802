"""One network namespace, with processes and sockets inside it."""

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tcpcryptd.netio.doctor.namespace import NamedNamespace
from tests.e2e.harness.process import end, run, wait_until

RUN_PREFIX = f"tct{secrets.token_hex(3)}"
"""Unlike that of any other run, so that runs side by side do not meet."""

ROOT = Path(__file__).resolve().parents[3]


class Namespace(NamedNamespace):
    """A network namespace whose processes see `directory` as /run: daemons keep their state there."""

    _serial = 0

    def __init__(self, label: str, directory: Path) -> None:
        Namespace._serial += 1
        super().__init__(f"{RUN_PREFIX}-{Namespace._serial}{label}")
        self.run_directory = directory / "run"
        self.run_directory.mkdir(parents=True)
        self._processes: list[subprocess.Popen[bytes]] = []
        run(["ip", "netns", "add", self.name])
        self.run(["ip", "link", "set", "lo", "up"])
        # Until an address is known to be nobody else's, no neighbour is asked for, and SYN segments are lost.
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)

    def _inside(self, command: Sequence[str]) -> list[str]:
        # ip gives its child a mount namespace of its own: the host's /run is not touched.
        bind = ["sh", "-c", 'mount --bind "$0" /run && exec "$@"', str(self.run_directory)]
        return ["ip", "netns", "exec", self.name, *bind, *command]

    def run(
        self, command: Sequence[str], *, check: bool = True, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command inside to its end; raises HarnessError when it fails (with `check`) or takes too long."""
        return run(self._inside(command), check=check, timeout=timeout)

    def spawn(
        self, command: Sequence[str], *, stdout: int = subprocess.DEVNULL, log: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a process inside that ends with the namespace; its stderr is added to `log`.

        The process ID is that of the command itself.
        """
        with contextlib.ExitStack() as files:
            stderr = files.enter_context(log.open("ab")) if log else subprocess.DEVNULL
            process = subprocess.Popen(
                self._inside(command), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=ROOT
            )
        self._processes.append(process)
        return process

    def sysctl(self, name: str, value: int | None = None) -> int:
        """Reads a setting of this namespace, after writing it when a value is given."""
        path = Path("/proc/sys") / name.replace(".", "/")
        with self.entered():
            if value is not None:
                path.write_text(f"{value}\n")
            return int(path.read_text())

    def _strays(self) -> list[int]:
        listed = run(["ip", "netns", "pids", self.name], check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def close(self) -> None:
        """Ends the processes that were started inside, and what they left behind there; removes the namespace."""
        for process in reversed(self._processes):
            end(process)
        for pid in self._strays():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            wait_until(lambda: not self._strays(), f"{self.name} is empty")
        finally:
            run(["ip", "netns", "delete", self.name])
