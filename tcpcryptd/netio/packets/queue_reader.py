"""Takes diverted packets from a queue's netlink socket."""

import select
import socket
from typing import Final

from tcpcryptd.netio.kernel.nfqueue import DivertedPacket, diverted_packet

RECEIVE_SIZE: Final = 128 << 10
"""Bytes of the largest message."""
_MSG_DONTWAIT: Final[int] = socket.MSG_DONTWAIT
_FEW: Final = 4
"""Packets in a batch after which the next one is not taken for a busy one."""


class Reader:
    """Takes packets from the socket, a batch at a time."""

    def __init__(self, queue_socket: socket.socket) -> None:
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))
        self._receive_into = queue_socket.recv_into
        poll = select.poll()
        poll.register(queue_socket, select.POLLIN)
        self._poll = poll.poll
        self._taken = 0
        self._limit = 0
        self._bytes_left = 0
        self._early: list[bytes] = []
        self._was_busy = False

    @property
    def is_busy(self) -> bool:
        """Whether packets come so fast that their verdicts are better sent together."""
        return self._was_busy or self._taken > _FEW

    @property
    def is_limited(self) -> bool:
        """Whether the batch was ended by its limits, so that more may wait."""
        return self._taken >= self._limit or self._bytes_left <= 0

    def put_back(self, messages: list[bytes]) -> None:
        """Messages to be read before the socket's."""
        self._early = messages

    def begin(self, count: int, size: int) -> None:
        """Lets `count` packets through, or those that have `size` bytes together. One waits, if none was put back."""
        self._was_busy = self._taken > _FEW
        self._taken = 0
        self._limit = count
        self._bytes_left = size

    def next(self) -> DivertedPacket | None:
        """The next packet; None when there is none, or the batch is over."""
        while self._taken < self._limit and self._bytes_left > 0:
            if self._early:
                message = self._early.pop(0)
                length = len(message)
                self._buffer[:length] = message
            else:
                # Python takes ten times as long to report that there is none as the kernel to tell before.
                if self._taken and not self._was_busy and not self._poll(0):
                    return None
                try:
                    length = self._receive_into(self._buffer, RECEIVE_SIZE, _MSG_DONTWAIT)
                except BlockingIOError:
                    return None
            self._taken += 1
            self._bytes_left -= length
            packet = diverted_packet(self._buffer, length)
            if packet is not None:
                return packet
        return None
