"""What is measured, under which name and in which unit, and what is counted."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench.measure import bulk, idle_memory, round_trip, short_connections
from bench.report import Quantity
from bench.route import Route

BULK = Quantity("bulk, one stream", "Mbit/s", higher_is_better=True)
BULK_EIGHT = Quantity("bulk, eight streams", "Mbit/s", higher_is_better=True)
CPU = Quantity(
    "CPU, tunnel",
    "s/GB",
    counted="user and system time of the daemons or tunnel ends on both hosts and of their children, during bulk with "
    "one stream; "
    "the kernel's work outside of any process is not in it",
)
CPU_ALL = Quantity("CPU, tunnel and iperf3", "s/GB", counted="user and system time of both iperf3 as well")
FRESH = Quantity("short connection, fresh", "ms", counted="all cryptographic work made for each connection")
RESUMED = Quantity(
    "short connection, resumed",
    "ms",
    counted="sessions resumed where there are any; without a handshake per connection, the same figures as fresh",
)
LATENCY = Quantity("latency, 32 bytes", "us", counted="a round trip on an open connection")
MEMORY = Quantity(
    "memory, 1,000 idle connections",
    "MiB",
    counted="growth of the proportional set size of the daemons or tunnel ends on both hosts, started anew; "
    "the kernel's memory is not in it",
)

QUANTITIES = (BULK, BULK_EIGHT, CPU, CPU_ALL, FRESH, RESUMED, LATENCY, MEMORY)
"""In the order of the report."""

EIGHT = 8
WARM_UP_CONNECTIONS = 20
PER = 1000
GIGABYTE = 1e9
MEBIBYTE = 1 << 20

Figures = Iterator[tuple[Quantity, float]]


@dataclass(frozen=True)
class Parameters:
    """How long and how often: rounds, seconds of bulk, short connections, round trips, idle connections."""

    rounds: int = 5
    seconds: int = 5
    connections: int = 500
    round_trips: int = 2000
    idle: int = 1000


QUICK = Parameters(rounds=1, seconds=1, connections=50, round_trips=200, idle=100)


@dataclass(frozen=True)
class Subject:
    """A variant under test: its route, one with fresh handshakes if that differs, and how to start one more."""

    route: Route
    fresh: Route | None
    another: Callable[[], AbstractContextManager[Route]]


def measure_bulk(subject: Subject, parameters: Parameters) -> Figures:
    result = bulk(subject.route, 1, parameters.seconds)
    yield BULK, result.bits_per_second / 1e6
    yield CPU_ALL, (result.tunnel_cpu + result.iperf_cpu) / result.bytes * GIGABYTE
    if subject.route.processes():
        yield CPU, result.tunnel_cpu / result.bytes * GIGABYTE


def measure_eight(subject: Subject, parameters: Parameters) -> Figures:
    yield BULK_EIGHT, bulk(subject.route, EIGHT, parameters.seconds).bits_per_second / 1e6


def measure_short(subject: Subject, parameters: Parameters) -> Figures:
    resumed = short_connections(subject.route, parameters.connections) * 1e3
    fresh = short_connections(subject.fresh, parameters.connections) * 1e3 if subject.fresh else resumed
    yield FRESH, fresh
    yield RESUMED, resumed


def measure_latency(subject: Subject, parameters: Parameters) -> Figures:
    yield LATENCY, round_trip(subject.route, parameters.round_trips) * 1e6


def measure_memory(subject: Subject, parameters: Parameters) -> Figures:
    """With a tunnel of its own: one that has worked has freed memory to use again, and would not grow."""
    if subject.route.processes():
        with subject.another() as route:
            yield MEMORY, idle_memory(route, WARM_UP_CONNECTIONS, parameters.idle) * PER / MEBIBYTE


MEASUREMENTS: dict[str, Callable[[Subject, Parameters], Figures]] = {
    "bulk": measure_bulk,
    "bulk-8": measure_eight,
    "short": measure_short,
    "latency": measure_latency,
    "memory": measure_memory,
}
