"""Takes diverted packets from a queue's netlink socket."""

import select
import socket
from typing import Final

from tcpcryptd.netio.kernel.nfqueue import DivertedPacket, diverted_packet
from tcpcryptd.netio.kernel.recvmmsg import ManyReceiver

RECEIVE_SIZE: Final = 128 << 10
"""Bytes of the largest message."""
_MSG_DONTWAIT: Final[int] = socket.MSG_DONTWAIT
_FEW: Final = 4
"""Packets in a batch after which the next one is not taken for a busy one."""
_MANY: Final = 64
"""Messages received at once."""
_LARGE: Final = 4096
"""Bytes of a message after which the next one is received by itself: into memory that the processor has at hand."""


class Reader:
    """Takes packets from the socket, a batch at a time."""

    def __init__(self, queue_socket: socket.socket) -> None:
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))
        self._receive_into = queue_socket.recv_into
        self._descriptor = queue_socket.fileno()
        self._many: ManyReceiver | None = None
        self._at = self._end = 0
        """Which of its messages are still to be handled."""
        self._length = 0
        """Of the latest message."""
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
        """The next packet; None when there is none, or the batch is over.

        What has been received is always handled in the same batch.
        """
        while True:
            if self._at < self._end and self._many is not None:
                buffer, length = self._many.buffers[self._at], self._many.lengths[self._at]
                self._at += 1
            elif self.is_limited:
                return None
            elif self._was_busy and self._length < _LARGE and not self._early:
                if not self._receive_many():
                    return None
                continue
            else:
                buffer, length = self._buffer, self._receive()
                if not length:
                    return None
            self._taken += 1
            self._bytes_left -= length
            self._length = length
            packet = diverted_packet(buffer, length)
            if packet is not None:
                return packet

    def _receive_many(self) -> bool:
        many = self._many
        if many is None:
            try:
                many = self._many = ManyReceiver(self._descriptor, _MANY, RECEIVE_SIZE)
            except OSError:
                # No memory for it now: one after the other, in this batch.
                self._was_busy = False
                return True
        self._at, self._end = 0, many.receive(min(_MANY, self._limit - self._taken))
        return self._end > 0

    def _receive(self) -> int:
        """The length of the next message, which is in the buffer; 0 when there is none."""
        if self._early:
            message = self._early.pop(0)
            self._buffer[: len(message)] = message
            return len(message)
        # Python takes ten times as long to report that there is none as the kernel to tell before.
        if self._taken and not self._was_busy and not self._poll(0):
            return 0
        try:
            return self._receive_into(self._buffer, RECEIVE_SIZE, _MSG_DONTWAIT)
        except BlockingIOError:
            return 0
