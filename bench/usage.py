"""What processes use: CPU time and memory, from /proc."""

import os
import resource
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PROC = Path("/proc")
KIBIBYTE = 1024


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time so far, user and system, of all threads of the processes and of the children that they waited for."""
    return sum(parse_ticks(stat) for _, stat in _read(pids, "stat")) / os.sysconf("SC_CLK_TCK")


def parse_ticks(stat: str) -> int:
    """The sum of utime, stime, cutime and cstime of a line of /proc/PID/stat, in clock ticks (proc(5))."""
    # The second field, in brackets, is the command's name, which may hold anything.
    return sum(map(int, stat.rpartition(")")[2].split()[11:15]))


def children_cpu_seconds() -> float:
    """CPU time of this process's children that have ended and been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory_bytes(pids: Iterable[int]) -> dict[int, int]:
    """Proportional set size of each process: what several of them share counts once in their sum."""
    return {pid: parse_pss(rollup) for pid, rollup in _read(pids, "smaps_rollup")}


def parse_pss(rollup: str) -> int:
    """The line `Pss:` of /proc/PID/smaps_rollup, in bytes; raises ValueError when there is none."""
    for line in rollup.splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) * KIBIBYTE
    raise ValueError("no Pss in smaps_rollup")


def growth(before: Mapping[int, int], now: Mapping[int, int]) -> int:
    """By how much the processes that were there both times have grown; a daemon's helpers come and go."""
    return sum(now[pid] - before[pid] for pid in before.keys() & now.keys())


def _read(pids: Iterable[int], name: str) -> Iterator[tuple[int, str]]:
    for pid in pids:
        try:
            yield pid, (PROC / str(pid) / name).read_text()
        except (FileNotFoundError, ProcessLookupError):
            # It has ended since it was listed.
            continue
