"""Many messages from a socket in one system call (recvmmsg(2)), which Python's sockets do not have."""

import ctypes
import errno
import mmap
import os
import socket
from typing import Final

from tcpcryptd.netio.kernel.sendmmsg import Message, Vector

_MSG_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
_LENGTH_SIZE: Final = 4

_recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)


class ManyReceiver:
    """Receives messages into buffers of its own, whose memory is taken when they are first needed."""

    def __init__(self, descriptor: int, count: int, size: int) -> None:
        """Up to `count` messages at once, of `size` bytes at most each."""
        self._descriptor = descriptor
        # Not of the heap, which would clear the memory.
        memory = mmap.mmap(-1, count * size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        view = memoryview(memory)
        self.buffers = [view[at : at + size] for at in range(0, count * size, size)]
        """One for each message."""
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self._vectors = (Vector * count)()
        self._messages = (Message * count)()
        vectors = ctypes.addressof(self._vectors)
        for index, (vector, message) in enumerate(zip(self._vectors, self._messages, strict=True)):
            vector.base, vector.length = base + index * size, size
            message.header.vectors, message.header.vector_count = vectors + index * ctypes.sizeof(Vector), 1
        self._address = ctypes.addressof(self._messages)
        fields = memoryview(self._messages).cast("B").cast("I")
        self.lengths = fields[Message.done.offset // _LENGTH_SIZE :: ctypes.sizeof(Message) // _LENGTH_SIZE]
        """Bytes of each message."""

    def receive(self, count: int) -> int:
        """How many messages there were, up to `count`; raises OSError."""
        received: int = _recvmmsg(self._descriptor, self._address, count, _MSG_DONTWAIT, None)
        if received >= 0:
            return received
        number = ctypes.get_errno()
        if number in (errno.EAGAIN, errno.EINTR):
            return 0
        raise OSError(number, os.strerror(number))
