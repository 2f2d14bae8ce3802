"""Capabilities of the calling thread, as far as the kernel's text files and prctl(2) show them."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

CAP_NET_ADMIN = 12
CAP_NET_RAW = 13
NETWORK_CAPABILITIES = (CAP_NET_ADMIN, CAP_NET_RAW)

_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_PR_CAPBSET_DROP = 24
_LAST_CAPABILITY_FILE = Path("/proc/sys/kernel/cap_last_cap")

_libc = ctypes.CDLL(None, use_errno=True)


def mask_of(*capabilities: int) -> int:
    """The set with these capabilities as the kernel prints it, one bit each."""
    return sum(1 << each for each in capabilities)


def read_status(path: Path = Path("/proc/thread-self/status")) -> dict[str, str]:
    """The fields of a status file of proc(5), by name."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def effective() -> int:
    """The effective set of the calling thread."""
    return int(read_status()["CapEff"], 16)


def has_network_capabilities() -> bool:
    """Whether the calling thread may administer the network and open raw sockets."""
    wanted = mask_of(*NETWORK_CAPABILITIES)
    return effective() & wanted == wanted


def limit_bounding_set(kept: int) -> None:
    """Drops all capabilities but those of the mask `kept` from the bounding set; raises OSError without CAP_SETPCAP."""
    for capability in range(int(_LAST_CAPABILITY_FILE.read_text(encoding="ascii")) + 1):
        if not kept >> capability & 1:
            _prctl(_PR_CAPBSET_DROP, capability)


@contextlib.contextmanager
def passed_to_children() -> Iterator[None]:
    """Children started meanwhile by this thread keep the network capabilities although they are not root's.

    Raises OSError when the capabilities are not both permitted and inheritable. Does nothing for root.
    """
    if os.geteuid() == 0:
        yield
        return
    for capability in NETWORK_CAPABILITIES:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)
    try:
        yield
    finally:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def _prctl(option: int, *arguments: int) -> None:
    # python-prctl knows neither ambient capabilities nor those that are younger than its headers.
    padded = [*arguments, 0, 0, 0, 0][:4]
    if _libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(each) for each in padded)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
