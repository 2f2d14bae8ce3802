#!/bin/sh
# The most memory of a child that wait4 reports (ru_maxrss) is at least what its parent had when it was forked, whatever
# program the child has executed since.
#
# Good engineers expect the program's own figure, as with its processor times: execve gives it a new address space. The kernel
# keeps the old one's peak in the process's signal_struct, and so does getrusage(RUSAGE_SELF) in the program. A
# measurement of small programs by a large one (Python with numpy, say) shows the large one's size. VmHWM in
# /proc/self/status is of the address space alone. getrusage(2) does not say it.
#
# Seen on Linux 6.18. Needs Python 3. Exits with 0 while the kernel behaves so, else with 1.
set -eu
uname -sr
exec python3 - <<'PYTHON'
import os, subprocess, sys

PROGRAM = ["sh", "-c", "grep VmHWM /proc/self/status"]

def child():
    """KiB that wait4 reports, and VmHWM of a small program."""
    with subprocess.Popen(PROGRAM, stdout=subprocess.PIPE) as process:
        own = int(process.stdout.read().split()[1])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
    return usage.ru_maxrss, own

reported_before, own_before = child()
ballast = bytearray(b"x") * (200 << 20)
reported_after, own_after = child()
print(f"parent small:            wait4 says {reported_before:7} KiB, the program's VmHWM is {own_before} KiB")
print(f"parent has 200 MiB more: wait4 says {reported_after:7} KiB, the program's VmHWM is {own_after} KiB")
sys.exit(not (reported_after > 200 << 10 and own_after < 20 << 10))
PYTHON
