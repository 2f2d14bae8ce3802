"""Two hosts with a path between them, and what is measured over it."""

import contextlib
import fcntl
import json
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from io import FileIO
from pathlib import Path as File

from bench.measure import short_connections
from bench.paths.path import Path
from bench.route import IPERF_PORT, Route
from bench.variants import Daemons, plain
from tests.e2e.harness import Network, pair
from tests.e2e.harness.host import Host
from tests.e2e.harness.process import end

ADDRESSES = ("10.70.0.1", "10.70.0.2")
DEVICE = "path0"
_SET_INTERFACE = 0x400454CA
"""TUNSETIFF (linux/if_tun.h)."""
_TUN, _NO_INFORMATION = 0x0001, 0x1000
CONNECTIONS = 3
"""For the time until the first byte."""
PROBE_PORT = 7001
PROBE_SECONDS = 0.1
GRACE_SECONDS = 90.0
_STAMP = struct.Struct("=d")


@dataclass(frozen=True)
class Setup:
    """The options of both daemons; None: there are none."""

    options: tuple[str, ...] | None

    def start(self, network: Network, *extra: str) -> Route:
        """Starts them."""
        route = plain(network) if self.options is None else Daemons((*self.options, *extra))(network)
        return replace(route, address=ADDRESSES[1])


@dataclass(frozen=True)
class Figures:
    """Of one transfer and some short connections."""

    megabits: float
    """A second, received."""
    delay: float
    """Seconds from one host to the other and back for a datagram during the transfer, the median."""
    fresh: float
    """Round trips until a new connection has its first byte of an answer."""
    resumed: float


@dataclass
class Ends:
    """Two hosts; `fresh`: two more whose daemons keep no sessions."""

    route: Route
    fresh: Route
    links: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]

    def measure(self, path: Path, control: str, seconds: float) -> Figures:
        """Over this path, with that congestion control on the sender's side."""
        lossless = replace(path, loss=0, corruption=0, reordering=0, duplication=0, jitter=0, outage=(0, 0))
        self._set(lossless)
        trips = [short_connections(route, CONNECTIONS) / path.round_trip for route in (self.fresh, self.route)]
        self._set(path)
        client, server = self.route.network.client, self.route.network.server
        listener = server.namespace.spawn(["iperf3", "--server", "--one-off", "--port", str(IPERF_PORT)])
        try:
            server.wait_listening(IPERF_PORT)
            command = ["iperf3", "--client", self.route.address, "--port", str(IPERF_PORT), "--json", "--interval", "0"]
            command += ["--congestion", control, "--time", str(int(seconds))]
            with probing(client, server) as delays:
                document = json.loads(client.run(command, timeout=seconds + GRACE_SECONDS).stdout)
        finally:
            end(listener)
        received = document["end"]["sum_received"]
        return Figures(received["bits_per_second"] / 1e6, statistics.median(delays or [0.0]), *trips)

    def _set(self, path: Path) -> None:
        for link in self.links:
            if link.stdin is not None:
                link.stdin.write(json.dumps(asdict(path)).encode() + b"\n")
                link.stdin.flush()


@contextlib.contextmanager
def probing(client: Host, server: Host) -> Iterator[list[float]]:
    """Sends a datagram to and fro every PROBE_SECONDS meanwhile; the seconds that each took."""
    delays: list[float] = []
    over = threading.Event()
    with (
        client.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        server.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        selectors.DefaultSelector() as selector,
    ):
        there.bind((ADDRESSES[1], PROBE_PORT))
        here.connect((ADDRESSES[1], PROBE_PORT))
        for each in (here, there):
            selector.register(each, selectors.EVENT_READ)

        def probe() -> None:
            due = time.monotonic()
            while not over.is_set():
                if time.monotonic() >= due:
                    here.send(_STAMP.pack(time.monotonic()))
                    due += PROBE_SECONDS
                for key, _ in selector.select(max(0.0, due - time.monotonic())):
                    if key.fileobj is there:
                        there.sendto(*there.recvfrom(_STAMP.size))
                    else:
                        delays.append(time.monotonic() - _STAMP.unpack(here.recv(_STAMP.size))[0])

        thread = threading.Thread(target=probe)
        thread.start()
        try:
            yield delays
        finally:
            over.set()
            thread.join()


@contextlib.contextmanager
def opened(setup: Setup, directory: File) -> Iterator[Ends]:
    """Both pairs of hosts, with daemons; they end with the context."""
    with pair(directory / "cached") as network, pair(directory / "fresh") as other:
        links = _link(network), _link(other)
        try:
            ends = Ends(setup.start(network), setup.start(other, "--no-cache"), links)
            # The first one cannot resume anything.
            short_connections(ends.route, 1)
            yield ends
        finally:
            for link in links:
                end(link)


def _link(network: Network) -> subprocess.Popen[bytes]:
    devices = [_device(host, address) for host, address in zip(network.hosts(), ADDRESSES, strict=True)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(device) for device in devices]
        numbers = [each.fileno() for each in files]
        return subprocess.Popen(
            [sys.executable, "-m", "bench.paths.link", *map(str, numbers)],
            stdin=subprocess.PIPE,
            pass_fds=numbers,
        )


def _device(host: Host, address: str) -> FileIO:
    """The open TUN device of a host."""
    with host.namespace.entered():
        device = FileIO("/dev/net/tun", "r+")
        fcntl.ioctl(device, _SET_INTERFACE, struct.pack("16sH22x", DEVICE.encode(), _TUN | _NO_INFORMATION))
    host.run(["ip", "address", "add", f"{address}/24", "dev", DEVICE])
    host.run(["ip", "link", "set", DEVICE, "up"])
    return device
