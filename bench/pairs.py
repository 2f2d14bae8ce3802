"""`python -m bench.pairs`: eight streams between eight pairs of hosts, with one worker and with several, in turn.

A pair of hosts is a pair of addresses here: which worker has a connection follows from its addresses. On a machine with
few cores all daemons, iperf3 and the kernel share them, so that more workers cannot give more; `--quota` limits each
process of a daemon to a part of one core (cgroup v1, cpu controller), as if it had a slow core of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from bench.__main__ import NOT_ROOT, prepare
from bench.measure import parse_received
from bench.usage import cpu_seconds
from bench.variants import check_encrypted
from tests.e2e.harness import Host, Network, pair
from tests.e2e.harness.process import end, run, wait_until

PAIRS = 8
FIRST_PORT = 5201
PERIOD_MICROSECONDS = 20_000
MEGABIT = 1e6
GRACE_SECONDS = 30
CPU_CGROUPS = Path("/sys/fs/cgroup/cpu")


def address(index: int) -> str:
    """The server's address for one of the streams."""
    return f"10.69.0.{20 + index}"


def daemon_processes(host: Host) -> list[int]:
    """All processes of a host's daemon."""
    return [int(pid) for pid in run(["ip", "netns", "pids", host.namespace.name]).stdout.split()]


@contextmanager
def limited(processes: Sequence[int], share: float) -> Iterator[None]:
    """Each process gets at most this share of one core."""
    groups = [CPU_CGROUPS / f"tcpcryptd-bench-{process}" for process in processes]
    try:
        for group, process in zip(groups, processes, strict=True):
            group.mkdir()
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (group / "cpu.cfs_quota_us").write_text(str(int(share * PERIOD_MICROSECONDS)))
            (group / "cgroup.procs").write_text(str(process))
        yield
    finally:
        for group in groups:
            if group.exists():
                for member in (group / "cgroup.procs").read_text().split():
                    (CPU_CGROUPS / "cgroup.procs").write_text(member)
                # A process that has just been moved keeps it busy for a moment.
                wait_until(partial(_removed, group), f"{group} is empty")


def _removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def bulk(network: Network, seconds: int) -> float:
    """Bits per second of all streams together."""
    ports = range(FIRST_PORT, FIRST_PORT + PAIRS)
    with ExitStack() as stack:
        for index, port in enumerate(ports):
            command = ["iperf3", "--server", "--one-off", "--bind", address(index), "--port", str(port)]
            stack.callback(end, network.server.namespace.spawn(command))
            network.server.wait_listening(port)
        clients = []
        for index, port in enumerate(ports):
            command = ["iperf3", "--client", address(index), "--port", str(port), "--time", str(seconds), "--json"]
            client = network.client.namespace.spawn(command, stdout=subprocess.PIPE)
            stack.callback(end, client)
            clients.append(client)
        outputs = [client.communicate(timeout=seconds + GRACE_SECONDS)[0] for client in clients]
    return sum(parse_received(json.loads(output))[0] for output in outputs)


def measure(workers: tuple[int, int], protocol: str, seconds: int, quota: float | None) -> tuple[float, float]:
    """Bits per second, and CPU seconds of both daemons per second, with so many workers at client and server."""
    with tempfile.TemporaryDirectory(prefix="tcpcryptd-bench-") as name, ExitStack() as stack:
        Path(name).chmod(0o755)
        network = stack.enter_context(pair(Path(name)))
        for index in range(PAIRS):
            network.server.run(["ip", "address", "add", f"{address(index)}/24", "dev", "eth0"])
        for host, number in zip(network.hosts(), workers, strict=True):
            host.start_daemon("--protocol", protocol, "--workers", str(number))
        check_encrypted(network)
        processes = [pid for host in network.hosts() for pid in daemon_processes(host)]
        if quota is not None:
            stack.enter_context(limited(processes, quota))
        before, begun = cpu_seconds(processes), time.monotonic()
        rate = bulk(network, seconds)
        return rate, (cpu_seconds(processes) - before) / (time.monotonic() - begun)


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.pairs", description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, os.cpu_count() or 1], help="numbers to compare")
    parser.add_argument("--client-workers", type=int, help="the client's daemon always has so many")
    parser.add_argument("--protocol", choices=("crypt", "eno"), default="crypt")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quota", type=float, help="share of one core for each process of the daemons, such as 0.2")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: run it as root", file=sys.stderr)
        return NOT_ROOT
    prepare()
    results: dict[int, list[tuple[float, float]]] = {number: [] for number in options.workers}
    for _ in range(options.rounds):
        for number in options.workers:
            at_client = options.client_workers or number
            results[number].append(measure((at_client, number), options.protocol, options.seconds, options.quota))
    for number, figures in results.items():
        rates = sorted(rate / MEGABIT for rate, _ in figures)
        cores = statistics.median(cpu for _, cpu in figures)
        print(
            f"{number} workers: {statistics.median(rates):.0f} ({rates[0]:.0f} to {rates[-1]:.0f}) Mbit/s,"
            f" both daemons use {cores:.2f} cores"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
