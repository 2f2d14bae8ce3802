"""A request of the control protocol that is not granted."""


class Refused(Exception):
    """The request is understood and refused; `errno` is a name such as ENOENT."""

    def __init__(self, errno: str, message: str) -> None:
        super().__init__(message)
        self.errno = errno
