"""Many IP packets to one host in one system call (sendmmsg(2)), which Python's sockets do not have."""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from tcpcryptd.netio.kernel.raw_socket import RawSocket
from tcpcryptd.wire.segment import lengths

_BUFFER: Final = 128 << 10
"""Bytes of packets in one call."""
_MAX_SHAPES = 16
"""Lengths of packets for which messages are kept."""
_CONTROL_HEADER = struct.Struct("@Nii")
_CONTROL_ALIGNMENT = struct.calcsize("@N")
_MAX_CONTROL = 128
_IPV4_NAME = struct.Struct("@HH4s8x")
_IPV6_NAME = struct.Struct("@H2s4x16sI")

_sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class Vector(ctypes.Structure):
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


class Message(ctypes.Structure):
    """`struct mmsghdr`."""

    _fields_ = (("header", _Header), ("done", ctypes.c_uint))


class ManySender:
    """Sends adjacent packets through a raw socket."""

    def __init__(self, raw: RawSocket, on_error: Callable[[OSError, bytes], None]) -> None:
        """`on_error` is also given the packet that was refused."""
        self.sent = 0
        self._raw = raw
        self._on_error = on_error
        self._buffer = (ctypes.c_char * _BUFFER)()
        self._bytes = memoryview(self._buffer).cast("B")
        self._name = (ctypes.c_char * (_IPV4_NAME if raw.version == 4 else _IPV6_NAME).size)()
        self._control = (ctypes.c_char * _MAX_CONTROL)()
        self._control_bytes = memoryview(self._control).cast("B")
        self._control_length = 0
        self._shapes: dict[tuple[int, int], _Shape] = {}

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._raw.socket.fileno()

    def send(self, packets: bytes, route: int) -> bytes:
        """Sends them in order, to the first one's destination; returns those for which there is no room yet.

        By the way of their connection, see `route`. What fails for another reason is reported and left out.
        """
        self._raw.take(packets, route)
        self._direct(packets, route)
        sizes = lengths(packets)
        position = 0
        while sizes:
            size = sizes[0]
            count = min(_equal(sizes), _BUFFER // size)
            end = position + sum(sizes[:count])
            done = self._send_some(packets[position:end], size, count, route)
            if done < count:
                return packets[position + done * size :]
            position = end
            del sizes[:count]
        return b""

    def _direct(self, packets: bytes, route: int) -> None:
        """Writes the name and the control messages for packets like the first one."""
        destination, port, scope = self._raw.name(packets)
        if self._raw.version == 4:
            _IPV4_NAME.pack_into(self._name, 0, socket.AF_INET, 0, destination)
        else:
            _IPV6_NAME.pack_into(self._name, 0, socket.AF_INET6, port.to_bytes(2, "big"), destination, scope)
        control = b""
        for level, kind, body in self._raw.control(packets, route):
            message = _CONTROL_HEADER.pack(_CONTROL_HEADER.size + len(body), level, kind) + body
            control += message + bytes(-len(message) % _CONTROL_ALIGNMENT)
        self._control_bytes[: len(control)] = control
        self._control_length = len(control)

    def _send_some(self, packets: bytes, size: int, count: int, route: int) -> int:
        """Sends packets that all are `size` bytes long but the last, which may be shorter; returns how many."""
        shape = self._find_shape(size)
        self._bytes[: len(packets)] = packets
        last = shape.vectors[count - 1]
        last.length = len(packets) - (count - 1) * size
        done = 0
        while done < count:
            sent = _sendmmsg(
                self.fileno(), shape.address + done * ctypes.sizeof(Message), count - done, socket.MSG_DONTWAIT
            )
            if sent > 0:
                self.sent += sent
                done += sent
                continue
            number = ctypes.get_errno()
            if number == errno.EAGAIN:
                break
            error = OSError(number, os.strerror(number))
            if self._raw.relents(error):
                self._direct(packets, route)
                last.length = size
                shape = self._find_shape(size)
                last = shape.vectors[count - 1]
                last.length = len(packets) - (count - 1) * size
                continue
            self._on_error(error, packets[done * size : (done + 1) * size])
            done += 1
        last.length = size
        return done

    def _find_shape(self, size: int) -> "_Shape":
        shape = self._shapes.get((size, self._control_length))
        if shape is None:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            shape = self._shapes[size, self._control_length] = self._shape(size)
        return shape

    def _shape(self, size: int) -> "_Shape":
        shape = _Shape(_BUFFER // size)
        buffer = ctypes.addressof(self._buffer)
        vectors = ctypes.addressof(shape.vectors)
        for index, (vector, message) in enumerate(zip(shape.vectors, shape.messages, strict=True)):
            vector.base, vector.length = buffer + index * size, size
            header = message.header
            header.name, header.name_length = ctypes.addressof(self._name), ctypes.sizeof(self._name)
            header.vectors, header.vector_count = vectors + index * ctypes.sizeof(Vector), 1
            header.control, header.control_length = ctypes.addressof(self._control), self._control_length
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
        self.vectors = (Vector * count)()
        self.messages = (Message * count)()
        self.address = ctypes.addressof(self.messages)
