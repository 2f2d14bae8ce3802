"""Binds a netfilter queue and configures it, and says why that cannot be done."""

import errno
import os
import select
import socket
import time

from netfilterqueue import NetfilterQueue

from tcpcryptd.netio.errors import ExitCode, QueueError
from tcpcryptd.netio.kernel import nfqueue
from tcpcryptd.netio.kernel.flowtables import refuse_flowtables
from tcpcryptd.netio.kernel.queue_statistics import QUEUES_FILE, read_queue_statistics

_SOL_NETLINK = 270
_NETLINK_NO_ENOBUFS = 5
_RECEIVE_SIZE = 128 << 10
_LAST_QUEUE = 0xFFFF
_ACKNOWLEDGMENT_TIMEOUT = 2.0
_SEQUENCE = 0x74637063


def bind(number: int, length: int, socket_buffer: int) -> NetfilterQueue:
    """The queue, in which `length` packets may wait, with a socket buffer of so many bytes; raises QueueError."""
    try:
        queue = NetfilterQueue()
    except OSError as error:
        if not QUEUES_FILE.exists():
            raise QueueError(
                "the kernel has no NFQUEUE (CONFIG_NETFILTER_NETLINK_QUEUE); load it with: modprobe nfnetlink_queue",
                ExitCode.UNSUPPORTED,
            ) from error
        raise QueueError("not allowed to use netfilter queues: run tcpcryptd as root", ExitCode.PERMISSION) from error
    try:
        queue.bind(number, _never_called, max_len=length, sock_len=socket_buffer)
    except OSError as error:
        owner = read_queue_statistics().get(number)
        if owner is not None:
            raise QueueError(
                f"queue {number} is taken by another process (netlink port {owner.port_id}, usually its process ID): "
                "stop it, or choose other queues with --queue",
                ExitCode.BUSY,
            ) from error
        raise QueueError(f"queue {number} cannot be bound: run tcpcryptd as root", ExitCode.PERMISSION) from error
    return queue


def configure(
    queue_socket: socket.socket, number: int, length: int, gso: bool, tracked: bool
) -> tuple[list[bytes], bool]:
    """As `nfqueue.configuration`; raises QueueError.

    Gives the packets that came meanwhile, and whether the kernel says with each what connection tracking knows.
    """
    queue_socket.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
    try:
        try:
            return _request(queue_socket, nfqueue.configuration(number, _SEQUENCE, length, gso, tracked)), tracked
        except OSError as error:
            if not tracked or error.errno != errno.EOPNOTSUPP:
                raise
            refuse_flowtables(error)
        return _request(queue_socket, nfqueue.configuration(number, _SEQUENCE, length, gso)), False
    except OSError as error:
        raise QueueError(
            f"the kernel refuses to hand over whole packets on queue {number}: {error.strerror}; "
            "a kernel of version 3.10 or later is needed",
            ExitCode.UNSUPPORTED,
        ) from error


def tells_connections() -> bool:
    """Whether connection tracking and queues know of each other (CONFIG_NETFILTER_NETLINK_GLUE_CT).

    Raises QueueError. Loads what is a module.
    """
    bound = read_queue_statistics()
    number = next(number for number in range(_LAST_QUEUE, 0, -1) if number not in bound)
    queue = bind(number, 1, _RECEIVE_SIZE)
    try:
        with socket.socket(fileno=os.dup(queue.get_fd())) as queue_socket:
            _request(queue_socket, nfqueue.configuration(number, _SEQUENCE, 1, gso=False, tracked=True))
    except OSError:
        return False
    finally:
        queue.unbind()
    return True


def _request(queue_socket: socket.socket, request: bytes) -> list[bytes]:
    queue_socket.send(request)
    deadline = time.monotonic() + _ACKNOWLEDGMENT_TIMEOUT
    poll = select.poll()
    poll.register(queue_socket, select.POLLIN)
    early: list[bytes] = []
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        message = queue_socket.recv(_RECEIVE_SIZE, socket.MSG_DONTWAIT)
        if nfqueue.is_acknowledgment(message, _SEQUENCE):
            return early
        early.append(message)
    raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


def _never_called(_packet: object) -> None:
    """The library wants a callback. It is not asked to receive anything."""
