"""Binds a netfilter queue, and says why that cannot be done."""

from netfilterqueue import NetfilterQueue

from tcpcryptd.netio.errors import ExitCode, QueueError
from tcpcryptd.netio.stats import QUEUES_FILE, read_queue_statistics


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
                f"queue {number} is taken by another process (netlink port {owner.port_id}, mostly its process ID): "
                "stop it, or choose other queues with --queue",
                ExitCode.BUSY,
            ) from error
        raise QueueError(f"queue {number} cannot be bound: run tcpcryptd as root", ExitCode.PERMISSION) from error
    return queue


def _never_called(_packet: object) -> None:
    """The library wants a callback. It is not asked to receive anything."""
