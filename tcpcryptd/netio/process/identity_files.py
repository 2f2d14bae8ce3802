"""Files with the host's key, which nobody else may read, and with the keys of others."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from tcpcryptd.netio.errors import DaemonError, ExitCode

MAX_KEY_BYTES: Final = 16 * 1024
_OTHERS: Final = 0o077
_PRIVATE, _PUBLIC = 0o600, 0o644


def read_private(path: Path) -> bytes:
    """A private key's file; raises DaemonError, also when another user may read or replace it, as ssh does."""
    content, status = _read(path, MAX_KEY_BYTES)
    if status.st_uid not in (0, os.geteuid()):
        raise DaemonError(f"{path}: belongs to user {status.st_uid}, who could replace the key: chown root {path}")
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise DaemonError(f"{path}: others may read the private key (mode {mode:04o}): chmod 600 {path}")
    return content


def read_public(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of a file, and one more if there are more; raises DaemonError."""
    return _read(path, limit)[0]


def read_if_there(path: Path, limit: int) -> bytes | None:
    """The same; None: there is no such file."""
    try:
        return read_public(path, limit)
    except DaemonError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def _read(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    try:
        # Not to wait for a FIFO that somebody has put there.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise DaemonError(f"{path}: not a regular file")
            return file.read(limit + 1), status
    except OSError as error:
        code = ExitCode.PERMISSION if error.errno in (errno.EACCES, errno.EPERM) else ExitCode.FAILURE
        raise DaemonError(f"{path}: {error.strerror}", code) from error


def write_key_pair(path: Path, private: bytes, public: bytes) -> None:
    """Writes two new files, FILE and FILE.pub; raises DaemonError, also when one is there already."""
    written: list[Path] = []
    try:
        for each, content, mode in ((path, private, _PRIVATE), (Path(f"{path}.pub"), public, _PUBLIC)):
            descriptor = os.open(each, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            written.append(each)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
        sync_directory(path.parent)
    except OSError as error:
        for each in written:
            each.unlink(missing_ok=True)
        name = error.filename or path
        advice = "; a key is never overwritten" if isinstance(error, FileExistsError) else ""
        raise DaemonError(f"{name}: {error.strerror}{advice}") from error


def sync_directory(path: Path) -> None:
    """Makes sure that names in a directory outlast a power failure; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
