"""Errors of the control protocol."""

import errno


class ControlError(Exception):
    """Base of all errors of the control protocol."""


class DaemonNotRunning(ControlError):
    """Nobody answers on the control socket."""


class ControlPermissionDenied(ControlError):
    """The control socket exists, but this user may not open it."""


class ControlTimeout(ControlError):
    """The daemon did not answer in time."""


class ControlProtocolError(ControlError):
    """The other side sent what is not the control protocol, or hung up."""


class RequestRefused(ControlError):
    """The daemon understood the request and refuses it.

    `errno` is the number that fits best, `name` its name, such as ENOENT.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.errno: int = getattr(errno, name, errno.EIO) if name.startswith("E") else errno.EIO


class BadMessage(ControlError):
    """A line that cannot be accepted; `errno_name` and `request_id` go into the reply.

    `request_id` is None when the line does not tell it.
    """

    errno_name = "EBADMSG"

    def __init__(self, message: str, request_id: int | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class MessageTooLong(BadMessage):
    """A line above the limit."""

    errno_name = "EMSGSIZE"


class UnsupportedVersion(BadMessage):
    """A message of another version of the protocol."""

    errno_name = "EPROTONOSUPPORT"


class UnknownCommand(BadMessage):
    """A request that this version does not have."""

    errno_name = "ENOSYS"


class BadArgument(BadMessage):
    """An argument that is missing, unknown or of the wrong type."""

    errno_name = "EINVAL"
