"""Keeps the C library from giving memory back to the kernel between two packets.

A packet of the stream queue takes several buffers of 64 KiB, and all of them are free again when it is done. As glibc
is set, such memory goes back to the kernel and is faulted in again for the next packet: that costs more than half the
throughput (docs/performance.md).
"""

import ctypes

TRIM_THRESHOLD = 32 << 20
"""Bytes: how much free memory the process keeps."""
MMAP_THRESHOLD = 4 << 20
"""Bytes: a block from this size up is mapped by itself. Above all that a packet or a batch of verdicts needs."""
TOP_PAD = 4 << 20
"""Bytes by which the heap grows at least; they are used when they are first touched."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Raises the thresholds (mallopt(3)); whether the C library has them, and took them."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = ((_M_TRIM_THRESHOLD, TRIM_THRESHOLD), (_M_TOP_PAD, TOP_PAD), (_M_MMAP_THRESHOLD, MMAP_THRESHOLD))
    taken = [mallopt(parameter, value) for parameter, value in settings]
    return all(each == 1 for each in taken)
