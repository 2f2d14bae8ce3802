"""A link between two TUN devices: `python -m bench.paths.link DESCRIPTOR DESCRIPTOR`.

Each line on stdin is a Path as a JSON object, and begins anew: what is on the way is lost. TUN devices do not
offload: what is read is what would be on a wire.
"""

import heapq
import json
import os
import select
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from bench.paths.path import Path

MAX_PACKET = 65535
LEAST_BYTE = 20
"""Before it is the IP header, which is not corrupted."""


@dataclass
class Direction:
    """One of a link's two; times are those of time.monotonic()."""

    path: Path
    is_senders: bool
    random: Random
    free: float = 0.0
    """When the packets that wait have been sent."""
    last: float = 0.0
    """When the last packet arrives."""

    def arrivals(self, packet: bytes, now: float) -> Iterator[tuple[float, bytes]]:
        """When a packet arrives, and how; nothing when it is lost."""
        path, random = self.path, self.random
        start = max(self.free, now)
        if start - now > path.queue:
            return
        rate = path.rate if self.is_senders else path.return_rate or path.rate
        self.free = start + len(packet) * 8 / (rate * 1e6)
        arrival = self.free + path.round_trip / 2
        if not self.is_senders:
            yield arrival, packet
            return
        if random.random() < path.loss:
            return
        if random.random() < path.corruption:
            changed = bytearray(packet)
            changed[random.randrange(LEAST_BYTE, len(packet))] ^= 1 << random.randrange(8)
            packet = bytes(changed)
        if path.jitter:
            arrival = max(self.last, arrival + random.uniform(0, path.jitter))
        if random.random() < path.reordering:
            arrival += path.round_trip / 4
        else:
            self.last = arrival
        yield arrival, packet
        if random.random() < path.duplication:
            yield arrival, packet


class Link:
    """Both directions: what is read from one device is written to the other."""

    def __init__(self, devices: tuple[int, int]) -> None:
        self._devices = devices
        self._ties = count()
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self.set(Path("at first", round_trip=0, rate=1000))

    def set(self, path: Path) -> None:
        """Becomes another link."""
        self._waiting.clear()
        self._outage = tuple(time.monotonic() + each for each in path.outage)
        self._directions = [Direction(path, index == 0, Random(index)) for index in range(2)]  # noqa: S311 (seeded)

    def take(self, index: int) -> None:
        """A packet has come on a device."""
        packet = os.read(self._devices[index], MAX_PACKET)
        now = time.monotonic()
        if not self._outage[0] <= now < self._outage[1]:
            for arrival, each in self._directions[index].arrivals(packet, now):
                heapq.heappush(self._waiting, (arrival, next(self._ties), self._devices[1 - index], each))

    def deliver(self) -> float | None:
        """Writes what has arrived; seconds until the next packet does, None: there is none."""
        while self._waiting:
            wait = self._waiting[0][0] - time.monotonic()
            if wait > 0:
                return wait
            _, _, device, packet = heapq.heappop(self._waiting)
            os.write(device, packet)
        return None

    def run(self) -> None:
        """Until the end of stdin."""
        poll = select.epoll()
        for descriptor in (sys.stdin.fileno(), *self._devices):
            poll.register(descriptor, select.EPOLLIN)
        while True:
            wait = self.deliver()
            for descriptor, _ in poll.poll(wait):
                if descriptor in self._devices:
                    self.take(self._devices.index(descriptor))
                    continue
                line = sys.stdin.readline()
                if not line:
                    return
                self.set(Path(**json.loads(line)))


if __name__ == "__main__":
    Link((int(sys.argv[1]), int(sys.argv[2]))).run()
