"""Which netfilter queues the packets of each class go to."""

import os
from dataclasses import dataclass

DEFAULT_QUEUE = 69
LAST_FIRST_QUEUE = 0xFFFF - 2
"""The highest number that three adjacent queues can start at."""
MAX_WORKERS = 64


def default_workers() -> int:
    """One for each core that this process may use."""
    return min(len(os.sched_getaffinity(0)), MAX_WORKERS)


@dataclass(frozen=True)
class QueueNumbers:
    """The first queue for each class that is diverted; each of the workers has one from there on.

    Which worker's it is follows from a packet's two addresses alone, whatever the direction and the class: a pair of
    hosts, with its connections and its sessions, is one worker's.

    Raises ValueError when the numbers do not fit.
    """

    undecided: int = DEFAULT_QUEUE
    encrypted: int = DEFAULT_QUEUE + 1
    stream: int = DEFAULT_QUEUE + 2
    workers: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ValueError(f"{self.workers} workers: must be from 1 to {MAX_WORKERS}")
        numbers = self.all
        if not all(0 <= number <= 0xFFFF for number in numbers) or len(set(numbers)) != len(numbers):
            raise ValueError(f"queues {', '.join(map(str, numbers))}: must be different numbers from 0 to 65535")

    def __str__(self) -> str:
        numbers = self.all
        if numbers == tuple(range(numbers[0], numbers[0] + len(numbers))) and self.workers > 1:
            return f"{numbers[0]} to {numbers[-1]}"
        return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"

    @property
    def all(self) -> tuple[int, ...]:
        """The numbers of all queues."""
        firsts = (self.undecided, self.encrypted, self.stream)
        return tuple(first + index for first in firsts for index in range(self.workers))

    @classmethod
    def starting_at(cls, number: int, workers: int = 1) -> "QueueNumbers":
        """Adjacent queues; raises ValueError when they do not fit, as beyond LAST_FIRST_QUEUE with one worker."""
        return cls(number, number + workers, number + 2 * workers, workers)

    def of_worker(self, index: int) -> "QueueNumbers":
        """One worker's queues, as a daemon without others has them."""
        return QueueNumbers(self.undecided + index, self.encrypted + index, self.stream + index)
