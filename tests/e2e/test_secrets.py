"""Memory that holds keys stays out of core dumps, of other processes' reach and, where that is allowed, of swap."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tcpcryptd.netio.process.memory import can_lock_memory
from tests.e2e.harness import MARKER, Host, Network, dialogue, exchange, same_session, wait_until
from tests.e2e.harness.namespace import ROOT
from tests.e2e.harness.users import NOBODY

LOCKING = """
import re, resource, sys
from tcpcryptd.netio.process import memory
# Root may lock without a limit, which is not lifted here: that takes CAP_SYS_RESOURCE.
memory.resource.setrlimit = lambda *_: None
done = memory.lock_memory()
later = bytearray(16 << 20)
print(done, *re.findall(r"VmLck:\\s+(\\d+)", open("/proc/self/status").read()))
"""


def kilobytes(field: str) -> int:
    return int(field.split(maxsplit=1)[0])


def test_memory_is_locked_where_that_is_allowed(encrypted: Network) -> None:
    daemon = encrypted.client.daemons[0]
    with dialogue(encrypted) as client:
        assert exchange(client, MARKER * 1000) == MARKER * 1000
        same_session(encrypted, client)
        status = daemon.status()
    if can_lock_memory():
        assert kilobytes(status["VmLck"]) >= kilobytes(status["VmRSS"]) // 2
    else:
        assert kilobytes(status["VmLck"]) == 0


def test_a_lock_that_is_not_allowed_is_only_mentioned(host: Host) -> None:
    wrapper = ["prlimit", "--memlock=65536:65536", "setpriv", "--bounding-set=-sys_resource", "--"]
    daemon = host.start_wrapped_daemon(wrapper, "--verbose")
    assert kilobytes(daemon.status()["VmLck"]) == 0
    assert "memory is not locked" in daemon.log()
    assert "warning" not in daemon.log()


@pytest.mark.usefixtures("_root")
def test_the_lock_holds_for_what_is_allocated_later() -> None:
    done = subprocess.run([sys.executable, "-c", LOCKING], cwd=ROOT, capture_output=True, text=True, check=True)
    locked, size = done.stdout.split()
    assert locked == "True"
    assert int(size) >= 16 << 10


def killed_with_a_dump(process: subprocess.Popen[bytes]) -> bool:
    """Whether SIGSEGV makes it dump core."""
    process.send_signal(signal.SIGSEGV)
    result = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert result is not None
    process.wait()
    assert result.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
    return result.si_code == os.CLD_DUMPED


def test_no_core_dump(host: Host, directory: Path) -> None:
    sleeper = subprocess.Popen(["prlimit", "--core=-1", "sleep", "60"], cwd=directory)
    wait_until(lambda: Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n", "it sleeps")
    assert killed_with_a_dump(sleeper), "this system does not dump core at all: nothing would be shown"
    daemon = host.start_wrapped_daemon(["prlimit", "--core=-1"])
    limits = Path(f"/proc/{daemon.pid}/limits").read_text().splitlines()
    (core,) = (line.split() for line in limits if line.startswith("Max core file size"))
    assert core[4:6] == ["0", "0"]
    assert not killed_with_a_dump(daemon.process)
    host.start_daemon()


def test_other_processes_of_its_user_cannot_read_it(host: Host) -> None:
    daemon = host.start_daemon("--user", "nobody")
    assert daemon.status()["Uid"].split() == ["65534"] * 4
    for name in ("mem", "environ", "maps"):
        assert host.run([*NOBODY, "head", "-c", "1", f"/proc/{daemon.pid}/{name}"], check=False).returncode == 1
        assert Path(f"/proc/{daemon.pid}/{name}").stat().st_uid == 0
