"""A router that impairs what it forwards: `python -m tests.e2e.harness.middlebox NAME SEED`, in its namespace."""

import heapq
import select
import socket
import sys
import time
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from tests.e2e.harness.impairment import IMPAIRMENTS
from tests.e2e.harness.process import wait_until

if TYPE_CHECKING:
    from tests.e2e.harness.host import Host

QUEUE = 7
QUEUE_COUNTERS = "/proc/net/netfilter/nfnetlink_queue"
_COPY = 4016


def impair(router: "Host", name: str, seed: int = 1) -> None:
    """Sends all forwarded IPv4 TCP packets through an impairment; it ends with the router."""
    router.namespace.spawn(
        [sys.executable, "-m", "tests.e2e.harness.middlebox", name, str(seed)], log=router.directory / "middlebox.log"
    )

    def bound() -> bool:
        return any(line.split()[0] == str(QUEUE) for line in router.run(["cat", QUEUE_COUNTERS]).stdout.splitlines())

    wait_until(bound, "the middlebox has its queue")
    router.run(["iptables", "-A", "FORWARD", "-p", "tcp", "-j", "NFQUEUE", "--queue-num", str(QUEUE)])


def _serve(name: str, seed: int) -> None:
    from netfilterqueue import NetfilterQueue  # noqa: PLC0415 (not needed by who only starts one)

    impairment = IMPAIRMENTS[name](Random(seed))
    waiting: list[tuple[float, int, bytes]] = []
    ties = count()
    # What is sent by a raw socket does not pass FORWARD again.
    out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(packet: bytes) -> None:
        try:
            out.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
        except OSError as error:
            print(f"{len(packet)} bytes not sent: {error}", file=sys.stderr)  # noqa: T201

    def handle(queued: Any) -> None:
        packet = queued.get_payload()
        going = list(impairment(packet))
        if going == [(0.0, packet)]:
            queued.accept()
            return
        queued.drop()
        for delay, new in going:
            if delay:
                heapq.heappush(waiting, (time.monotonic() + delay, next(ties), new))
            else:
                send(new)

    queue = NetfilterQueue()
    queue.bind(QUEUE, handle, max_len=4096, range=_COPY, sock_len=1 << 22)
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        if select.select([queue.get_fd()], [], [], timeout)[0]:
            queue.run(block=False)
        while waiting and waiting[0][0] <= time.monotonic():
            send(heapq.heappop(waiting)[2])


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
