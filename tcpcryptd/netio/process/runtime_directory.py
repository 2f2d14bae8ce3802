"""The directory of the control socket and of what must survive the daemon."""

import contextlib
import os
import stat
from pathlib import Path

from tcpcryptd.netio.errors import DaemonError

DEFAULT_RUNTIME_DIRECTORY = Path("/run/tcpcryptd")
STATE_NAME = "state.json"
LOCK_NAME = "xtables.lock"
_OWN_NAMES = frozenset({STATE_NAME, "state.new", LOCK_NAME, "control.sock"})


def prepare_runtime_directory(path: Path, user_id: int, group_id: int) -> None:
    """Creates the directory for an unprivileged user, or hands over an existing one with nothing of others' in it.

    Raises DaemonError.
    """
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        _check(path, user_id)
        os.chown(path, user_id, group_id, follow_symlinks=False)
        path.chmod(0o755)
        # Another user's cannot be locked.
        (path / LOCK_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise DaemonError(f"runtime directory {path}: {error.strerror}") from error


def _check(path: Path, user_id: int) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise DaemonError(f"runtime directory {path}: not a directory")
    if status.st_uid not in (0, os.geteuid(), user_id):
        raise DaemonError(f"runtime directory {path}: belongs to user {status.st_uid}; remove it or name another one")
    foreign = sorted(name for name in os.listdir(path) if name not in _OWN_NAMES)
    if foreign and status.st_uid != user_id:
        raise DaemonError(f"runtime directory {path}: holds {foreign[0]}; give tcpcryptd a directory of its own")


def remove_runtime_files(path: Path) -> None:
    """Removes the directory with what tcpcryptd keeps in it, if nothing else is there."""
    with contextlib.suppress(OSError):
        for name in _OWN_NAMES:
            (path / name).unlink(missing_ok=True)
        path.rmdir()
