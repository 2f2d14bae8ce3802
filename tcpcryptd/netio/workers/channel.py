"""Messages between two processes of the daemon: JSON arrays over a pair of sockets that keep messages apart."""

import json
import socket
from collections.abc import Sequence
from typing import Any

MAX_MESSAGE = 96 << 10
"""Bytes; the kernel takes twice as much in one message as it is set by default."""
_BUFFER = 1 << 20

Json = Any
"""What JSON can say: None, bool, int, float, str, lists of them, and dictionaries by strings."""


class Closed(Exception):
    """The other process is gone, or has closed its end."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that do not outlive an exec, for a Channel each."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return ends


class Channel:
    """One end. Nothing blocks."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def send(self, message: Sequence[Json], descriptors: Sequence[int] = ()) -> bool:
        """Whether it was sent: not when the other process does not read. Raises Closed; ValueError: too long."""
        data = json.dumps(message, separators=(",", ":")).encode()
        if len(data) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(data)} bytes")
        try:
            if descriptors:
                return socket.send_fds(self._socket, [data], [*descriptors]) == len(data)
            return self._socket.send(data) == len(data)
        except BlockingIOError:
            return False
        except OSError as error:
            raise Closed from error

    def receive(self) -> list[Json] | None:
        """The next message, None when there is none now; raises Closed."""
        message = self.receive_with_descriptors()
        return None if message is None else message[0]

    def receive_with_descriptors(self) -> tuple[list[Json], list[int]] | None:
        """The same, with what came along."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, MAX_MESSAGE, 1)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Closed from error
        if not data:
            raise Closed
        return json.loads(data), descriptors

    def close(self) -> None:
        """Closes this end."""
        self._socket.close()
