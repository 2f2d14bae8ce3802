"""Child processes and waiting, both with deadlines."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence

POLL_SECONDS = 0.02
PATIENCE = float(os.environ.get("TCPCRYPTD_TEST_PATIENCE", "1"))
"""All deadlines are so many times as long, for machines with slow processors (`make test-kernels`)."""


class HarnessError(Exception):
    """The set-up around a test failed: a command, a process or a deadline."""


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Returns as soon as the condition holds; raises HarnessError when it does not within the deadline."""
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise HarnessError(f"not within {seconds * PATIENCE:g} s: {what}")
        time.sleep(POLL_SECONDS)


def run(command: Sequence[str], *, check: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; with `check`, raises HarnessError with its output when it fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout * PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise HarnessError(
            f"{' '.join(command)}: not done within {timeout * PATIENCE:g} s\n{late.stdout!r}\n{late.stderr!r}"
        ) from late
    if check and done.returncode != 0:
        raise HarnessError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def end(process: subprocess.Popen[bytes], seconds: float = 5.0) -> None:
    """Ends a process that may have ended already: SIGTERM, and SIGKILL after a while."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(seconds)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
