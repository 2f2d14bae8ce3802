import ctypes
import subprocess
import sys

import pytest

from tcpcryptd.netio.process.allocator import keep_freed_memory

PAGES = """
import resource, sys
from tcpcryptd.netio.process.allocator import keep_freed_memory
if sys.argv[1:]:
    assert keep_freed_memory()
def handle(rounds):
    for _ in range(rounds):
        packets = [b"x" * 65_000 for _ in range(16)]
        batch = b"".join(packets)
handle(10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
handle(200)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    """Pages that were faulted in while 200 batches of large packets were made and freed."""
    done = subprocess.run([sys.executable, "-c", PAGES, *arguments], check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_memory_is_not_faulted_in_again_for_each_packet() -> None:
    assert faults("keep") < faults() / 10


def test_a_library_without_the_setting_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    assert not keep_freed_memory()
