"""`python -m tests.kernels.run VERSION COMMAND ...`, as root: any command on one of Debian's kernels, such as 6.12."""

import os
import sys

from tests.kernels import machine
from tests.kernels.packages import Archive, PackagesError
from tests.kernels.work import APT, RESULTS


def main(arguments: list[str]) -> int:
    """The command; returns the exit code of the one that was run, after printing its output."""
    if len(arguments) < 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    results = RESULTS / f"run-{os.getpid()}"
    try:
        archive = Archive(APT)
        kernel = archive.fetch(archive.find(arguments[0]))
        code = machine.run(kernel, arguments[1:], results, float(os.environ.get("SECONDS_AT_MOST", "600")))
    except (PackagesError, machine.MachineError) as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    output = results / "output"
    sys.stdout.write(output.read_text(errors="replace") if output.exists() else "")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
