"""What is measured, under which name and in which unit, and what is counted."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench.measure import bulk, idle_memory, round_trip, short_connections
from bench.report import Quantity
from bench.route import Route
from bench.services import (
    REDIS_PROGRAMS,
    WEB_PROGRAMS,
    are_installed,
    redis_requests,
    redis_server,
    web_requests,
    web_server,
)
from bench.usage import cpu_seconds

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

SERVER_CPU = Quantity(
    "CPU of the server's end, a fresh connection",
    "ms",
    counted="user and system time of the daemon or tunnel end on the server's host, during those short connections",
)
WEB = Quantity(
    "nginx and wrk, kept connections",
    "1/s",
    higher_is_better=True,
    counted="requests for 20 kB over 50 connections",
)
WEB_NEW = Quantity(
    "nginx and wrk, a connection each",
    "1/s",
    higher_is_better=True,
    counted="the same with a connection for each request",
)
REDIS = Quantity("redis-benchmark", "1/s", higher_is_better=True, counted="GET by 20 clients")

QUANTITIES = (BULK, BULK_EIGHT, CPU, CPU_ALL, FRESH, RESUMED, SERVER_CPU, LATENCY, MEMORY, WEB, WEB_NEW, REDIS)
"""In the order of the report."""

EIGHT = 8
WEB_SECONDS = 3
"""At least: first all connections are opened."""
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
    fresh = subject.fresh or subject.route
    before = cpu_seconds(fresh.server_processes())
    took = short_connections(fresh, parameters.connections)
    spent = cpu_seconds(fresh.server_processes()) - before
    yield FRESH, took * 1e3
    if subject.route.processes():
        yield SERVER_CPU, spent / parameters.connections * 1e3
    yield RESUMED, (short_connections(subject.route, parameters.connections) if subject.fresh else took) * 1e3


def measure_latency(subject: Subject, parameters: Parameters) -> Figures:
    yield LATENCY, round_trip(subject.route, parameters.round_trips) * 1e6


def measure_memory(subject: Subject, parameters: Parameters) -> Figures:
    """With a tunnel of its own: one that has worked has freed memory to use again, and would not grow."""
    if subject.route.processes():
        with subject.another() as route:
            yield MEMORY, idle_memory(route, WARM_UP_CONNECTIONS, parameters.idle) * PER / MEBIBYTE


def measure_web(subject: Subject, parameters: Parameters) -> Figures:
    """Nothing where the programs are not installed."""
    if are_installed(WEB_PROGRAMS):
        with web_server(subject.route):
            seconds = max(parameters.seconds, WEB_SECONDS)
            yield WEB, web_requests(subject.route, seconds, keep_alive=True)
            yield WEB_NEW, web_requests(subject.route, seconds, keep_alive=False)


def measure_redis(subject: Subject, parameters: Parameters) -> Figures:
    """The same."""
    if are_installed(REDIS_PROGRAMS):
        with redis_server(subject.route):
            yield REDIS, redis_requests(subject.route, parameters.seconds)


MEASUREMENTS: dict[str, Callable[[Subject, Parameters], Figures]] = {
    "bulk": measure_bulk,
    "bulk-8": measure_eight,
    "short": measure_short,
    "latency": measure_latency,
    "memory": measure_memory,
    "web": measure_web,
    "redis": measure_redis,
}
