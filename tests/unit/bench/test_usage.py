"""CPU time and memory of processes."""

import os
import subprocess
import sys

import pytest

from bench.usage import children_cpu_seconds, cpu_seconds, growth, memory_bytes, parse_pss, parse_ticks


def test_ticks_are_found_behind_any_name() -> None:
    fields = "S 1 2 3 4 5 6 7 8 9 10 700 30 5 1 20 0 1 0 12345 0"
    assert parse_ticks(f"42 (a b) c) {fields}") == 736
    assert parse_ticks(f"42 (sshd) {fields}") == 736


def test_pss_is_in_bytes() -> None:
    first = "00400000-7fff0000 ---p 00000000 00:00 0 [rollup]"
    assert parse_pss(f"{first}\nRss: 9 kB\nPss:   1024 kB\nPss_Anon: 7 kB\n") == 1 << 20


def test_pss_has_to_be_there() -> None:
    with pytest.raises(ValueError, match="Pss"):
        parse_pss("Rss: 9 kB\nSwapPss: 1 kB\n")


def test_growth_counts_what_was_there_both_times() -> None:
    assert growth({1: 100, 2: 50, 3: 7}, {1: 140, 2: 45, 4: 1000}) == 35


def test_processes_that_have_ended_count_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert cpu_seconds([ended.pid]) == 0
    assert memory_bytes([ended.pid, os.getpid()]).keys() == {os.getpid()}


def test_cpu_time_of_a_child_is_counted_once_it_has_ended() -> None:
    work = "import time\nwhile time.process_time() < 0.2: pass"
    ours, children = cpu_seconds([os.getpid()]), children_cpu_seconds()
    subprocess.run([sys.executable, "-c", work], check=True)
    # /proc counts in ticks of 10 ms.
    assert cpu_seconds([os.getpid()]) - ours > 0.18
    assert children_cpu_seconds() - children >= 0.2
