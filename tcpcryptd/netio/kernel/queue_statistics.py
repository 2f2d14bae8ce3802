"""The kernel's counters of each queue."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

QUEUES_FILE = Path("/proc/net/netfilter/nfnetlink_queue")
_MAX_SIZE = 1 << 20


@dataclass(frozen=True)
class QueueStatistics:
    """One line of /proc/net/netfilter/nfnetlink_queue. Counts are of packets, since the queue was bound."""

    number: int
    port_id: int
    """Of the netlink socket that the queue is bound to; in general the process ID."""
    waiting: int
    copy_range: int
    """Bytes."""
    queue_dropped: int
    """The queue was full."""
    user_dropped: int
    """The socket's buffer was full."""
    packets: int


class QueueStatisticsReader:
    """The file, kept open: only root may open it. Raises OSError; FileNotFoundError when there is no NFQUEUE."""

    def __init__(self, path: Path = QUEUES_FILE) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> dict[int, QueueStatistics]:
        """By queue number, for all bound queues of the network namespace in which the file was opened."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        chunks = []
        size = 0
        while size < _MAX_SIZE and (chunk := os.read(self._descriptor, 1 << 16)):
            chunks.append(chunk)
            size += len(chunk)
        return dict(_parse(b"".join(chunks).decode("ascii")))

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


def read_queue_statistics(path: Path = QUEUES_FILE) -> dict[int, QueueStatistics]:
    """One reading, as root; empty when the kernel has no NFQUEUE."""
    try:
        reader = QueueStatisticsReader(path)
    except FileNotFoundError:
        return {}
    try:
        return reader.read()
    finally:
        reader.close()


def _parse(text: str) -> Iterator[tuple[int, QueueStatistics]]:
    for line in text.splitlines():
        fields = [int(field) for field in line.split()]
        if len(fields) >= 8:
            number, port_id, waiting, _, copy_range, queue_dropped, user_dropped, packets = fields[:8]
            yield number, QueueStatistics(number, port_id, waiting, copy_range, queue_dropped, user_dropped, packets)
