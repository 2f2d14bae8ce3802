"""Errors that stop the daemon, with messages that say what to do."""

import enum


class ExitCode(enum.IntEnum):
    """The exit codes of `tcpcryptd`."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    PERMISSION = 3
    UNSUPPORTED = 4
    """The kernel, nft or iptables lacks something."""
    BUSY = 5
    """Already running, or the queue is taken."""


class DaemonError(Exception):
    """The daemon cannot go on; the message says what to do about it."""

    def __init__(self, message: str, exit_code: int = ExitCode.FAILURE) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class QueueError(DaemonError):
    """A queue cannot be opened."""


class InjectorError(DaemonError):
    """A raw socket cannot be opened."""


class FirewallError(DaemonError):
    """The rules cannot be read or changed."""


class PrivilegeError(DaemonError):
    """Privileges are missing, or could not be given up."""
