"""Makes connection tracking accept sequence numbers out of its window while the daemon runs.

The handshake's messages occupy sequence space on the wire but not in the kernels, so tracking sees numbers that shift
and would count segments as invalid. The setting belongs to the network namespace. Its old value is kept in a file, for
`tcpcryptd --cleanup` after a daemon that was killed.
"""

import json
import os
from pathlib import Path

from tcpcryptd.netio.errors import DaemonError, ExitCode

LIBERAL_FILE = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal")

_MAX_STATE_SIZE = 4096
_KEY = "nf_conntrack_tcp_be_liberal"


class ConntrackSetting:
    """nf_conntrack_tcp_be_liberal, and where its old value is kept. Writing it needs CAP_NET_ADMIN."""

    def __init__(self, state_file: Path, setting_file: Path = LIBERAL_FILE) -> None:
        self._state_file = state_file
        self._setting_file = setting_file

    def relax(self) -> None:
        """Sets it to 1, having stored the old value unless one is stored already; raises DaemonError."""
        try:
            old = self._setting_file.read_text(encoding="ascii").strip()
        except FileNotFoundError as error:
            raise DaemonError(
                "the kernel has no connection tracking; load it with: modprobe nf_conntrack", ExitCode.UNSUPPORTED
            ) from error
        try:
            if self._stored() is None:
                _write_atomically(self._state_file, json.dumps({_KEY: int(old)}))
            self._setting_file.write_text("1", encoding="ascii")
        except (OSError, ValueError) as error:
            raise DaemonError(f"{self._setting_file} cannot be set: {error}") from error

    def restore(self) -> None:
        """Sets it to the stored value and removes the store; does nothing without one. Raises DaemonError."""
        old = self._stored()
        try:
            if old is not None:
                self._setting_file.write_text(str(old), encoding="ascii")
            self._state_file.unlink(missing_ok=True)
        except OSError as error:
            raise DaemonError(f"{self._setting_file} cannot be restored: {error.strerror}") from error

    def _stored(self) -> int | None:
        try:
            with self._state_file.open("rb") as file:
                state = json.loads(file.read(_MAX_STATE_SIZE))
        except (OSError, ValueError):
            return None
        value = state.get(_KEY) if isinstance(state, dict) else None
        return value if type(value) is int and value >= 0 else None


def _write_atomically(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    draft.replace(path)
