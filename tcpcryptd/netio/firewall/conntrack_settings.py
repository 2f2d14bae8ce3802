"""Connection tracking as encrypted connections need it, while the daemon runs.

The handshake's messages occupy sequence space on the wire but not in the kernels, so tracking sees numbers that shift
and would count segments as invalid. And it forgets a half-closed connection after a minute, and with it the mark that
keeps the rest of its data from leaving in clear when the daemon dies. The settings belong to the network namespace.
Their old values are kept in a file, for `tcpcryptd --cleanup` after a daemon that was killed.
"""

import json
import os
from pathlib import Path

from tcpcryptd.netio.errors import DaemonError, ExitCode

SETTINGS_DIRECTORY = Path("/proc/sys/net/netfilter")

SETTINGS = {
    "nf_conntrack_tcp_be_liberal": 1,
    # Seconds: as long as the engine keeps an open connection (core.limits.IDLE). With numbers that shift, the tracker
    # always waits for an acknowledgment, and would forget the connection and its mark after five minutes.
    "nf_conntrack_tcp_timeout_unacknowledged": 432_000,
    "nf_conntrack_tcp_timeout_max_retrans": 432_000,
    # Seconds: as long as the engine keeps a half-closed connection (core.limits.IDLE).
    "nf_conntrack_tcp_timeout_fin_wait": 7_500,
    "nf_conntrack_tcp_timeout_close_wait": 7_500,
    # Longer than the longest gap between two retransmissions. The tracker sees FINs that are dropped without a daemon,
    # and an RST that no kernel obeys looks like the end to it: an end that still has data sends it again.
    "nf_conntrack_tcp_timeout_last_ack": 150,
    "nf_conntrack_tcp_timeout_time_wait": 150,
    "nf_conntrack_tcp_timeout_close": 150,
}
"""The least value that each must have."""
FORWARDING = {
    # What is encrypted for hosts behind this one is in this state while it is open (netio/packets/offload_guard.py).
    "nf_conntrack_tcp_timeout_close_wait": 432_000,
}
"""The same, where connections of other hosts are encrypted."""

_MAX_STATE_SIZE = 4096
_STATE_MODE = 0o644
"""Root writes the file, and the unprivileged user that the daemon has become by then reads it."""


class ConntrackSettings:
    """The settings, and where their old values are kept. Writing them needs CAP_NET_ADMIN."""

    def __init__(self, state_file: Path, directory: Path = SETTINGS_DIRECTORY, forwards: bool = False) -> None:
        self._state_file = state_file
        self._directory = directory
        self._least = SETTINGS | (FORWARDING if forwards else {})

    def relax(self) -> None:
        """Raises them, having stored the old values of those that have none stored already; raises DaemonError."""
        try:
            old = {name: int((self._directory / name).read_text(encoding="ascii")) for name in SETTINGS}
        except FileNotFoundError as error:
            raise DaemonError(
                "the kernel has no connection tracking; load it with: modprobe nf_conntrack", ExitCode.UNSUPPORTED
            ) from error
        except (OSError, ValueError) as error:
            raise DaemonError(f"connection tracking cannot be read: {error}") from error
        try:
            stored = self._stored()
            # A daemon of another version that was killed may have raised fewer.
            if stored.keys() != SETTINGS.keys():
                _write_atomically(self._state_file, json.dumps(old | stored))
            for name, least in self._least.items():
                self._write(name, max(old[name], least))
        except OSError as error:
            raise DaemonError(f"connection tracking cannot be set: {error}") from error

    def restore(self) -> None:
        """Sets them to the stored values and removes the store; does nothing without one. Raises DaemonError."""
        try:
            for name, value in self._stored().items():
                self._write(name, value)
            self._state_file.unlink(missing_ok=True)
        except OSError as error:
            raise DaemonError(f"connection tracking cannot be restored: {error.strerror}") from error

    def _write(self, name: str, value: int) -> None:
        (self._directory / name).write_text(str(value), encoding="ascii")

    def _stored(self) -> dict[str, int]:
        try:
            with self._state_file.open("rb") as file:
                state = json.loads(file.read(_MAX_STATE_SIZE))
        except (FileNotFoundError, ValueError):
            return {}
        if not isinstance(state, dict):
            return {}
        return {name: state[name] for name in SETTINGS if type(state.get(name)) is int and state[name] >= 0}


def _write_atomically(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _STATE_MODE)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        # Whatever the umask is.
        os.fchmod(descriptor, _STATE_MODE)
        file.write(text)
    draft.replace(path)
