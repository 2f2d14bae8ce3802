"""What a service manager such as systemd is told, by the protocol of sd_notify(3)."""

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

_SOCKET_VARIABLE = "NOTIFY_SOCKET"
_WATCHDOG_VARIABLE = "WATCHDOG_USEC"
_WATCHDOG_PROCESS_VARIABLE = "WATCHDOG_PID"
_MICROSECONDS = 1e-6
_SHORTEST_WATCHDOG = 0.001
"""Seconds."""


class ServiceManager:
    """Tells whoever started the daemon how it fares; says nothing when nobody listens. Raises nothing."""

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        """Takes its variables out of the environment, so that no child speaks for the daemon."""
        variables = os.environ if environment is None else environment
        address = variables.pop(_SOCKET_VARIABLE, "")
        watchdog = variables.pop(_WATCHDOG_VARIABLE, "")
        process = variables.pop(_WATCHDOG_PROCESS_VARIABLE, str(os.getpid()))
        self._socket = _connect(address)
        self.watchdog_interval = _interval(watchdog) if self._socket and process == str(os.getpid()) else None
        """Seconds between calls of `alive`: half the time after which the manager ends the daemon; None: no need."""

    def ready(self, status: str) -> None:
        """The daemon is at work, also after `reloading`; `status` is one line for people."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """It reads its configuration again; `ready` ends that."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(time.monotonic() * 1e6)}")

    def stopping(self) -> None:
        """It stops in order."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The event loop is going round."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Says nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *fields: str) -> None:
        if self._socket is not None:
            # A manager that has no time, or is gone, must not stop the daemon.
            with contextlib.suppress(OSError):
                self._socket.send("\n".join(fields).encode())


def _connect(address: str) -> socket.socket | None:
    if not address.startswith(("/", "@")):
        return None
    # An address with @ is in the abstract namespace.
    name = "\0" + address[1:] if address.startswith("@") else address
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        made.connect(name)
    except OSError:
        made.close()
        return None
    return made


def _interval(microseconds: str) -> float | None:
    try:
        seconds = int(microseconds) * _MICROSECONDS
    except ValueError:
        return None
    return seconds / 2 if seconds >= _SHORTEST_WATCHDOG else None
