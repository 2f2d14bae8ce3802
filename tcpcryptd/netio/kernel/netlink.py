"""Netlink messages and attributes (linux/netlink.h). Headers are in host byte order."""

import os
import socket
import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
_ATTRIBUTE = struct.Struct("=HH")
"""struct nlattr: length, type."""
_ERROR = struct.Struct("=i")

REQUEST, ACKNOWLEDGE, DUMP = 0x1, 0x4, 0x300
_ERROR_MESSAGE, _DONE_MESSAGE = 2, 3
_TYPE_MASK = 0x3FFF
_RECEIVE_SIZE = 64 << 10


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """A message with its header."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute, padded to a multiple of four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """Values by type; what is cut short is left out."""
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            break
        found[kind & _TYPE_MASK] = data[_ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]
    return found


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence and body of each message in what one recv gave."""
    while len(data) >= HEADER.size:
        length, kind, _, sequence, _ = HEADER.unpack_from(data)
        if not HEADER.size <= length <= len(data):
            break
        yield kind, sequence, data[HEADER.size : length]
        data = data[length + -length % 4 :]


def is_acknowledgment(kind: int, body: bytes) -> bool:
    """Whether a message ends what was asked for; raises OSError when the kernel reports an error."""
    if kind not in (_ERROR_MESSAGE, _DONE_MESSAGE):
        return False
    error = _ERROR.unpack_from(body)[0] if len(body) >= _ERROR.size else 0
    if error < 0:
        raise OSError(-error, os.strerror(-error))
    return True


def transact(protocol: int, request: bytes) -> list[bytes]:
    """Asks the kernel over a socket of its own; the bodies of the answers. Raises OSError.

    The request must ask for an acknowledgment or a dump.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as kernel:
        kernel.settimeout(5)
        kernel.bind((0, 0))
        return ask(kernel, request)


def ask(kernel: socket.socket, request: bytes) -> list[bytes]:
    """The same over a socket that nothing else waits on."""
    answers: list[bytes] = []
    kernel.send(request)
    while True:
        for kind, _, body in messages(kernel.recv(_RECEIVE_SIZE)):
            if is_acknowledgment(kind, body):
                return answers
            answers.append(body)
