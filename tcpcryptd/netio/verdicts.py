"""Verdicts for a queue's packets, many in one message to the kernel (linux/netfilter/nfnetlink_queue.h).

The library sends each verdict by itself. Together they cost one system call, and what is released together also
travels together through the rest of the kernel: that doubles the throughput (docs/performance.md).
"""

import socket
import struct
from collections.abc import Iterator

BATCH = 64
"""Pieces of messages that wait at most; a verdict is one piece, or three with a large packet."""
BATCH_BYTES = 1 << 18
"""After which a batch is sent. The kernel refuses a message that is longer than the send buffer."""
SEND_BUFFER = 4 << 20

NF_DROP, NF_ACCEPT = 0, 1

_MESSAGE_VERDICT = 3 << 8 | 1
_REQUEST = 0x1
_VERDICT_HEADER, _MARK, _PAYLOAD = 2, 3, 10
_NETLINK_HEADER = struct.Struct("=IHHII")
_QUEUE_HEADER = struct.Struct(">BBH")
_ATTRIBUTE = struct.Struct("=HH")
_VERDICT = struct.Struct(">II")
_UINT32 = struct.Struct(">I")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
_SO_SNDBUFFORCE = 32
_LARGE = 4096
"""Bytes from which a packet is not copied into the message: the kernel gathers the pieces."""


class VerdictSender:
    """Collects verdicts for one queue. `errors` counts those that the kernel refused."""

    def __init__(self, queue_number: int, queue_socket: socket.socket) -> None:
        self.errors = 0
        queue_socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER)
        self._sendmsg = queue_socket.sendmsg
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._head = _QUEUE_HEADER.pack(0, 0, queue_number) + _ATTRIBUTE.pack(12, _VERDICT_HEADER)
        self._mark_attribute = _ATTRIBUTE.pack(8, _MARK)

    def add(self, packet_id: int, verdict: int, payload: bytes | None = None, mark: int | None = None) -> None:
        """A verdict, with the whole new packet and the new mark where they are given."""
        parts = [self._head, _VERDICT.pack(verdict, packet_id)]
        length = 32
        large: tuple[bytes, ...] = ()
        if mark is not None:
            parts += self._mark_attribute, _UINT32.pack(mark)
            length += 8
        if payload is not None:
            size = len(payload)
            if size < _LARGE:
                parts += _ATTRIBUTE.pack(size + 4, _PAYLOAD), payload, _PADDING[size & 3]
            else:
                parts.append(_ATTRIBUTE.pack(size + 4, _PAYLOAD))
                large = payload, _PADDING[size & 3]
            length += size + 4 + (-size & 3)
        self._waiting.append(_NETLINK_HEADER.pack(length, _MESSAGE_VERDICT, _REQUEST, 0, 0) + b"".join(parts))
        self._waiting += large
        self._bytes += length
        if len(self._waiting) >= BATCH or self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Sends what waits. When the kernel refuses a batch, each verdict is sent by itself."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        try:
            self._sendmsg(waiting)
        except OSError:
            self._send_one_by_one(waiting)

    def _send_one_by_one(self, waiting: list[bytes]) -> None:
        for message in _messages(b"".join(waiting)):
            try:
                self._sendmsg([message])
            except OSError:
                self.errors += 1


def _messages(batch: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(batch):
        length, *_ = _NETLINK_HEADER.unpack_from(batch, start)
        yield batch[start : start + length]
        start += length
