"""Many IP packets to one host in one system call (sendmmsg(2)), which Python's sockets do not have."""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from tcpcryptd.wire.segment import lengths

_BUFFER: Final = 128 << 10
"""Bytes of packets in one call."""
_MAX_SHAPES = 16
"""Lengths of packets for which messages are kept."""
_IP_PKTINFO = 8
_IPV6_PKTINFO = 50
_CONTROL_HEADER = struct.Struct("@Nii")
_MAX_CONTROL = 40

_sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class _Vector(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """`struct msghdr`."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """`struct mmsghdr`."""

    _fields_ = (("header", _Header), ("sent", ctypes.c_uint))


class ManySender:
    """Sends adjacent packets of one IP version through a raw socket."""

    def __init__(self, raw: socket.socket, version: int, on_error: Callable[[OSError], None]) -> None:
        self.sent = 0
        self._raw = raw
        self._version = version
        self._on_error = on_error
        self._buffer = (ctypes.c_char * _BUFFER)()
        self._bytes = memoryview(self._buffer).cast("B")
        self._name = (ctypes.c_char * (16 if version == 4 else 28))()
        self._name_bytes = memoryview(self._name).cast("B")
        self._control = (ctypes.c_char * _MAX_CONTROL)()
        self._shapes: dict[tuple[int, bool], _Shape] = {}
        struct.pack_into("@H", self._name, 0, socket.AF_INET if version == 4 else socket.AF_INET6)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._raw.fileno()

    def send(self, packets: bytes, interface: int) -> bytes:
        """Sends them in order, to the first one's destination; returns those for which there is no room yet.

        By way of this interface, as the route of their source address says; 0: as the destination's does. What fails
        for another reason is reported and left out.
        """
        if self._version == 4:
            source, destination = packets[12:16], packets[16:20]
            self._name_bytes[4:8] = destination
        else:
            source, destination = packets[8:24], packets[24:40]
            self._name_bytes[8:24] = destination
        if interface:
            self._direct(interface, source)
        sizes = lengths(packets)
        position = 0
        while sizes:
            size = sizes[0]
            count = min(_equal(sizes), _BUFFER // size)
            end = position + sum(sizes[:count])
            done = self._send_some(packets[position:end], size, count, bool(interface))
            if done < count:
                return packets[position + done * size :]
            position = end
            del sizes[:count]
        return b""

    def _direct(self, interface: int, source: bytes) -> None:
        """Writes the control message that names the interface and the source address (ip(7), ipv6(7))."""
        if self._version == 4:
            level, kind, body = socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("@i4s4x", interface, source)
        else:
            level, kind, body = socket.IPPROTO_IPV6, _IPV6_PKTINFO, struct.pack("@16sI", source, interface)
        _CONTROL_HEADER.pack_into(self._control, 0, _CONTROL_HEADER.size + len(body), level, kind)
        memoryview(self._control).cast("B")[_CONTROL_HEADER.size : _CONTROL_HEADER.size + len(body)] = body

    def _send_some(self, packets: bytes, size: int, count: int, directed: bool) -> int:
        """Sends packets that all are `size` bytes long but the last, which may be shorter; returns how many."""
        shape = self._shapes.get((size, directed))
        if shape is None:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            shape = self._shapes[size, directed] = self._shape(size, directed)
        self._bytes[: len(packets)] = packets
        last = shape.vectors[count - 1]
        last.length = len(packets) - (count - 1) * size
        done = 0
        while done < count:
            sent = _sendmmsg(
                self._raw.fileno(), shape.address + done * ctypes.sizeof(_Message), count - done, socket.MSG_DONTWAIT
            )
            if sent > 0:
                self.sent += sent
                done += sent
                continue
            number = ctypes.get_errno()
            if number == errno.EAGAIN:
                break
            self._on_error(OSError(number, os.strerror(number)))
            done += 1
        last.length = size
        return done

    def _shape(self, size: int, directed: bool) -> "_Shape":
        shape = _Shape(_BUFFER // size)
        buffer = ctypes.addressof(self._buffer)
        vectors = ctypes.addressof(shape.vectors)
        for index, (vector, message) in enumerate(zip(shape.vectors, shape.messages, strict=True)):
            vector.base, vector.length = buffer + index * size, size
            header = message.header
            header.name, header.name_length = ctypes.addressof(self._name), ctypes.sizeof(self._name)
            header.vectors, header.vector_count = vectors + index * ctypes.sizeof(_Vector), 1
            if directed:
                body = 12 if self._version == 4 else 20
                header.control = ctypes.addressof(self._control)
                header.control_length = -(-(_CONTROL_HEADER.size + body) // 8) * 8
        return shape


def _equal(sizes: list[int]) -> int:
    """How many of them, from the first one on, are equal; with one that is smaller after these."""
    first = sizes[0]
    if len(sizes) == 1 or (sizes.count(first) == len(sizes) - 1 and sizes[-1] <= first):
        return len(sizes)
    count = next((index for index, size in enumerate(sizes) if size != first), len(sizes))
    return count + (count < len(sizes) and sizes[count] < first)


class _Shape:
    """Messages that stand for packets of one length in the buffer."""

    def __init__(self, count: int) -> None:
        self.vectors = (_Vector * count)()
        self.messages = (_Message * count)()
        self.address = ctypes.addressof(self.messages)
