"""A file in the daemon's state directory, which outlasts the daemon. Several processes may change it."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.process.identity_files import sync_directory

DEFAULT_STATE_DIRECTORY: Final = Path("/var/lib/tcpcryptd")
_MODE: Final = 0o644
_DIRECTORY_MODE: Final = 0o755


Version = tuple[int, int, int]


def _version(status: os.stat_result) -> Version:
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def state_directory_objection(directory: Path, user_id: int) -> str | None:
    """Why a directory cannot be the daemon's; None: it can, or can be made. Raises OSError."""
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode) and status.st_uid in (0, os.geteuid(), user_id):
        return None
    return f"state directory {directory}: not a directory of root's or of the daemon's user"


class StateFile:
    """Only public things are kept in it. After a power failure it is what it was before a change or after it."""

    def __init__(self, path: Path, limit: int) -> None:
        """`limit`: bytes; one that is larger is not read."""
        self.path = path
        self._limit = limit

    def prepare(self, user_id: int, group_id: int) -> None:
        """Makes the directory, for an unprivileged user, and hands over a file that is there. Raises DaemonError."""
        directory = self.path.parent
        try:
            directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            wrong = state_directory_objection(directory, user_id)
            if wrong is not None:
                raise DaemonError(wrong)
            os.chown(directory, user_id, group_id, follow_symlinks=False)
            with contextlib.suppress(FileNotFoundError):
                os.chown(self.path, user_id, group_id, follow_symlinks=False)
        except OSError as error:
            raise DaemonError(f"state directory {directory}: {error.strerror}") from error

    def version(self) -> Version:
        """Differs after each change; (0, 0, 0) when there is no file. Raises OSError."""
        try:
            return _version(self.path.stat(follow_symlinks=False))
        except FileNotFoundError:
            return (0, 0, 0)

    def read(self) -> bytes:
        """The content, empty when there is no file; raises OSError."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(self._limit + 1)
        if len(content) > self._limit:
            raise OSError(27, "larger than it may be", str(self.path))
        return content

    def change(self, change: Callable[[bytes], bytes]) -> Version:
        """Replaces the content by what `change` makes of it, while no other process does; the version that it has then.

        Raises OSError.
        """
        with self._locked():
            content = change(self.read())
            new = self.path.with_name(f"{self.path.name}.new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, _MODE)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
                version = _version(os.fstat(descriptor))
            new.replace(self.path)
            sync_directory(self.path.parent)
        return version

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        name = self.path.with_name(f"{self.path.name}.lock")
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
