"""Network namespaces. Those of a doctor go with it, or, if it was killed, with the next doctor."""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import prctl

from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.process.program import SEARCH_PATH, completed

PREFIX = "tcpcryptd-doctor"
DIRECTORY = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_TIMEOUT = 20.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02

_libc = ctypes.CDLL(None, use_errno=True)


class NamedNamespace:
    """A network namespace that others make and remove."""

    def __init__(self, name: str) -> None:
        self.name = name

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is inside meanwhile; a socket that is made there stays there. Raises OSError."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        inside = os.open(DIRECTORY / self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _set_namespace(inside)
            try:
                yield
            finally:
                _set_namespace(before)
        finally:
            os.close(inside)
            os.close(before)

    def socket(self, family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
        """A socket inside, for use from anywhere; raises OSError."""
        with self.entered():
            return socket.socket(family, kind, protocol)


class Namespace(NamedNamespace):
    """A namespace of the doctor. Call `close` even if `open` failed: an interrupt may end it half-way."""

    def __init__(self, label: str) -> None:
        super().__init__(f"{PREFIX}-{os.getpid()}-{secrets.token_hex(2)}{label}")
        self._processes: list[subprocess.Popen[bytes]] = []

    def open(self) -> None:
        """Makes it, with its loopback interface up; raises DaemonError."""
        ip("netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments: str) -> None:
        """Runs `ip` inside; raises DaemonError."""
        ip("-n", self.name, *arguments)

    def spawn(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Starts a process inside whose output goes to a file, and which ends with the namespace."""
        with log.open("ab") as file:
            process = subprocess.Popen(  # noqa: S603 - the doctor's own words
                ["ip", "netns", "exec", self.name, *command],  # noqa: S607 - fixed search path
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={"PATH": SEARCH_PATH, **environment},
                # A signal from the terminal is for the doctor, who ends it.
                start_new_session=True,
                # Lasts until the daemon changes its user. Then it is inside, where `remove_leftovers` finds it.
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - the doctor has one thread
            )
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Ends the processes and removes the namespace; raises DaemonError."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if (DIRECTORY / self.name).exists():
            ip("netns", "delete", self.name)


def remove_leftovers() -> int:
    """Removes what doctors that were killed left behind, with the processes in it; how many namespaces there were."""
    removed = 0
    for name in os.listdir(DIRECTORY) if DIRECTORY.is_dir() else []:
        owner = name.removeprefix(f"{PREFIX}-").split("-")[0]
        if not name.startswith(f"{PREFIX}-") or not owner.isdecimal() or Path(f"/proc/{owner}").exists():
            continue
        for process in ip("netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        ip("netns", "delete", name)
        removed += 1
    return removed


def ip(*arguments: str) -> str:
    """Runs `ip`; what it prints. Raises DaemonError."""
    try:
        done = completed(["ip", *arguments], seconds=_TIMEOUT)
    except FileNotFoundError as error:
        raise DaemonError("ip was not found: install the package iproute2") from error
    except subprocess.TimeoutExpired as error:
        raise DaemonError(f"ip {' '.join(arguments)}: not done within {_TIMEOUT:g} s") from error
    if done.returncode != 0:
        raise DaemonError(f"ip {' '.join(arguments)}: {' '.join(done.stderr.split())}")
    return done.stdout


def poll_until(deadline: float) -> Iterator[None]:
    """Comes back again and again until that moment of the monotonic clock."""
    while time.monotonic() < deadline:
        yield
        time.sleep(_POLL_SECONDS)


def _end_with_parent() -> None:
    prctl.set_pdeathsig(signal.SIGKILL)


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
