"""Verdicts for a queue's packets, many in one message to the kernel (linux/netfilter/nfnetlink_queue.h).

The library sends each verdict by itself. Together they cost one system call, and what is released together also
travels together through the rest of the kernel: that doubles the throughput (docs/performance.md).
"""

import socket
import struct
from collections.abc import Iterator
from sys import byteorder
from typing import Final

from librt.strings import BytesWriter, write_i16_be, write_i16_le, write_i32_be, write_i32_le
from mypy_extensions import i16, i32, i64

from tcpcryptd.core.verdict import Gathered
from tcpcryptd.netio.kernel import netlink
from tcpcryptd.wire.syn import MAX_PACKET
from tcpcryptd.wire.words import put32

BATCH: Final = 64
"""Pieces of messages that wait at most; a verdict is one piece, or three with a large packet."""
BATCH_BYTES: Final = 1 << 18
"""After which a batch is sent. The kernel refuses a message that is longer than the send buffer."""
SEND_BUFFER: Final = 4 << 20

NF_DROP: Final = 0
NF_ACCEPT: Final = 1
"""Goes on behind the table that the rule is in: rules of others that stand there after ours are skipped."""
_NF_QUEUE: Final = 3
_QUEUE_SHIFT: Final = 16
"""Where a verdict has the number of the queue that a packet goes to."""
NF_REPEAT: Final = 4
"""Comes to the table again from its beginning; rules know it by its mark."""

_VERDICT_TYPE: Final = 3 << 8 | 1
_BATCH_TYPE: Final = 3 << 8 | 3
_REQUEST: Final = 0x1
_VERDICT: Final = 2
_MARK: Final = 3
_PAYLOAD: Final = 10
_CONNECTION: Final = 11
_NESTED: Final = 0x8000
_TRACKED_MARK: Final = 8
_TRACKED_MARK_MASK: Final = 21
"""Of connection tracking (linux/netfilter/nfnetlink_conntrack.h)."""
_NETLINK_HEADER: Final = struct.Struct("=IHHII")
_BEGINNING: Final = struct.Struct("=HHIIBB2sHH4s")
"""struct nlmsghdr from its second field on, struct nfgenmsg, and the attribute with the verdict up to the ID."""
_BARE_LENGTH: Final = 32
"""Bytes of a message with no more than that and the ID."""
_MARK_HEAD: Final = struct.pack("=HH", 8, _MARK)
_IS_LITTLE: Final = byteorder == "little"
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
_SO_SNDBUFFORCE: Final = 32
_LARGE: Final = 4096
"""Bytes from which a packet is not copied into the message: the kernel gathers the pieces."""


def for_tracking(mark: int, mask: int) -> bytes:
    """What a verdict has connection tracking do: those bits of the connection mark become what they are in `mark`.

    Kernels without CONFIG_NETFILTER_NETLINK_GLUE_CT ignore it.
    """
    values = netlink.attribute(_TRACKED_MARK, mark.to_bytes(4, "big"))
    values += netlink.attribute(_TRACKED_MARK_MASK, mask.to_bytes(4, "big"))
    return netlink.attribute(_NESTED | _CONNECTION, values)


class VerdictSender:
    """Collects verdicts for one queue. `errors` counts those that the kernel refused."""

    def __init__(self, queue_number: int, queue_socket: socket.socket) -> None:
        self.errors = 0
        queue_socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER)
        self._send = queue_socket.send
        self._sendmsg = queue_socket.sendmsg
        self._waiting: list[bytes | bytearray | memoryview] = []
        self._bytes = 0
        self._queue = queue_number.to_bytes(2, "big")
        self._beginnings = {verdict: self._beginning(verdict) for verdict in (NF_DROP, NF_ACCEPT, NF_REPEAT)}

    def _beginning(self, verdict: int, kind: int = _VERDICT_TYPE) -> bytes:
        return _BEGINNING.pack(*(kind, _REQUEST, 0, 0, 0, 0, self._queue, 12, _VERDICT, verdict.to_bytes(4, "big")))

    def pass_on(self, packet_id: int, queue_number: int) -> None:
        """Has the kernel put the packet in another queue, at once and behind all verdicts before."""
        verdict = queue_number << _QUEUE_SHIFT | _NF_QUEUE
        self._beginnings.setdefault(verdict, self._beginning(verdict))
        self.add(packet_id, verdict)
        self.flush()

    def add(
        self,
        packet_id: int,
        verdict: int,
        payload: bytes | Gathered | None = None,
        mark: int | None = None,
        tracking: bytes = b"",
    ) -> None:
        """A verdict, with the whole new packet and the new mark where they are given.

        `packet_id`: as `DivertedPacket` has it. `tracking`: see `for_tracking`. A packet that is longer than a message
        can have it is an error, and dropped.
        """
        if payload is not None and len(payload) > MAX_PACKET:
            # The length of its attribute would wrap, and the kernel let the packet pass as it came.
            self.errors += 1
            self.add(packet_id, NF_DROP)
            return
        size = 0 if payload is None else len(payload)
        padding = _PADDING[size & 3]
        length = _BARE_LENGTH + (0 if mark is None else 8) + len(tracking)
        length += 0 if payload is None else 4 + size + len(padding)
        writer = BytesWriter()
        _put32(writer, length)
        writer.write(self._beginnings[verdict])
        _put32(writer, packet_id)
        if mark is not None:
            writer.write(_MARK_HEAD)
            put32(writer, mark)
        writer.write(tracking)
        if payload is None:
            self._waiting.append(writer.getvalue())
        else:
            _put16(writer, size + 4)
            _put16(writer, _PAYLOAD)
            if isinstance(payload, Gathered):
                writer.write(payload.head)
                self._waiting += writer.getvalue(), payload.body, padding
            elif size < _LARGE:
                self._waiting.append(b"".join((writer.getvalue(), payload, padding)))
            else:
                self._waiting += writer.getvalue(), payload, padding
        self._bytes += length
        if len(self._waiting) >= BATCH or self._bytes >= BATCH_BYTES:
            self.flush()

    def drop_up_to(self, packet_id: int) -> None:
        """Drops all packets of the queue that are waiting for a verdict, up to this one in the order of the queue."""
        length, number = _BARE_LENGTH.to_bytes(4, byteorder), packet_id.to_bytes(4, byteorder)
        self._waiting.append(b"".join((length, self._beginning(NF_DROP, _BATCH_TYPE), number)))
        self._bytes += _BARE_LENGTH

    def flush(self) -> None:
        """Sends what waits. When the kernel refuses a batch, each verdict is sent by itself."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        try:
            if len(waiting) == 1:
                self._send(waiting[0])
            else:
                self._sendmsg(waiting)
        except OSError:
            self._send_one_by_one(waiting)

    def _send_one_by_one(self, waiting: list[bytes | bytearray | memoryview]) -> None:
        for message in _messages(b"".join(waiting)):
            try:
                self._send(message)
            except OSError:
                self.errors += 1


def _put16(writer: BytesWriter, number: int) -> None:
    """The lower two bytes, in host byte order."""
    signed = i16((i64(number) & 0xFFFF ^ 0x8000) - 0x8000)
    if _IS_LITTLE:
        write_i16_le(writer, signed)
    else:
        write_i16_be(writer, signed)


def _put32(writer: BytesWriter, number: int) -> None:
    """The lower four bytes, in host byte order."""
    signed = i32((i64(number) & 0xFFFFFFFF ^ 0x80000000) - 0x80000000)
    if _IS_LITTLE:
        write_i32_le(writer, signed)
    else:
        write_i32_be(writer, signed)


def _messages(batch: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(batch):
        length, *_ = _NETLINK_HEADER.unpack_from(batch, start)
        yield batch[start : start + length]
        start += length
