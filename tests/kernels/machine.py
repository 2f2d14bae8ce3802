"""A machine whose root is this host's, read-only, below an overlay in memory: nothing that it does stays."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.kernels import qemu, user_mode
from tests.kernels.packages import Kernel
from tests.kernels.work import environment

INSIDE = Path(__file__).with_name("inside.sh")


class MachineError(Exception):
    """The machine did not end in time, or without saying how its command ended."""


def run(kernel: Kernel, command: Sequence[str], results: Path, seconds: float) -> int:
    """Runs a command as root on that kernel, in the current directory, and returns its exit code.

    It can write to /results, which is `results` here; the console, the command's output and the kernel's messages are
    there as well. Raises MachineError.
    """
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    shutil.copy(INSIDE, results)
    words = ["env", *environment(kernel.is_user_mode), *command]
    (results / "command").write_text(f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(words)}\n")
    if kernel.modules is None:
        line = user_mode.command(kernel.image, results)
    else:
        line = qemu.command(kernel.image, kernel.modules, results)
    console = results / "console"
    with console.open("wb") as output:
        machine = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        try:
            machine.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise MachineError(f"not done within {seconds:g} s") from late
        finally:
            # User-mode Linux is several processes.
            with suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()
    status = results / "status"
    if not status.exists():
        raise MachineError(f"it ended without a result: {console.read_text(errors='replace')[-2000:]}")
    return int(status.read_text())
