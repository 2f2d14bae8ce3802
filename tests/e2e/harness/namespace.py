"""One network namespace, with processes and sockets inside it."""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.e2e.harness.process import end, run, wait_until

CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")
RUN_PREFIX = f"tct{secrets.token_hex(3)}"
"""Unlike that of any other run, so that runs side by side do not meet."""

ROOT = Path(__file__).resolve().parents[3]
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """A network namespace whose processes see `directory` as /run: daemons keep their state there."""

    _serial = 0

    def __init__(self, label: str, directory: Path) -> None:
        Namespace._serial += 1
        self.name = f"{RUN_PREFIX}-{Namespace._serial}{label}"
        self.run_directory = directory / "run"
        self.run_directory.mkdir(parents=True)
        self._processes: list[subprocess.Popen[bytes]] = []
        run(["ip", "netns", "add", self.name])
        self._descriptor = os.open(NAMESPACES / self.name, os.O_RDONLY | os.O_CLOEXEC)
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

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is inside meanwhile; a socket made there stays inside for ever."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._descriptor)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def socket(self, family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket of this namespace, for use from anywhere."""
        with self.entered():
            return socket.socket(family, kind)

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
            os.close(self._descriptor)
            run(["ip", "netns", "delete", self.name])
