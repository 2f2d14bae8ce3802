"""The descriptor in what applications call a socket."""

import errno
import os
import socket
from typing import Any, Protocol

_WILDCARDS = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 (what connect and listen do themselves)


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


class _HasExtraInfo(Protocol):
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...


SocketLike = int | _HasDescriptor | _HasExtraInfo
"""A descriptor, a socket (any object with `fileno`), an asyncio transport or stream writer."""


def descriptor_of(sock: SocketLike) -> int:
    """The descriptor; raises OSError (EBADF) when it is closed, (EOPNOTSUPP) for a transport without a socket."""
    if isinstance(sock, int):
        number = sock
    else:
        get_extra_info = getattr(sock, "get_extra_info", None)
        holder = get_extra_info("socket") if get_extra_info is not None else sock
        if holder is None:
            raise OSError(errno.EOPNOTSUPP, "the transport has no socket")
        fileno = getattr(holder, "fileno", None)
        if fileno is None:
            raise TypeError(f"{type(sock).__name__} is neither a socket, a descriptor, a transport nor a stream writer")
        number = int(fileno())
    if number < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return number


def bind_if_unbound(descriptor: int) -> None:
    """Gives a TCP socket without a port one, on all addresses: that is how the daemon knows it before it connects."""
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        if copy.proto == socket.IPPROTO_TCP and copy.family in _WILDCARDS and not copy.getsockname()[1]:
            copy.bind((_WILDCARDS[copy.family], 0))
