"""Keeps what is in memory out of swap and of core dumps, as far as the kernel lets a process."""

import ctypes
import logging
import os
import resource

import prctl

from tcpcryptd.netio.kernel import capabilities

_CAP_SYS_RESOURCE = 24
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4

_libc = ctypes.CDLL(None, use_errno=True)
_log = logging.getLogger(__name__)


def protect_memory() -> None:
    """No core dumps and no debugger, and no swapping where that is allowed; raises OSError.

    Call it as root, see `lock_memory`. Changing the user makes a process dumpable again: `forbid_dumps` once more then.
    """
    forbid_dumps()
    lock_memory()


def forbid_dumps() -> None:
    """Allows core dumps, debuggers and /proc/PID/mem for root only; raises OSError."""
    prctl.set_dumpable(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def can_lock_memory() -> bool:
    """Whether `lock_memory` would be allowed."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return hard_limit == resource.RLIM_INFINITY or bool(capabilities.effective() >> _CAP_SYS_RESOURCE & 1)


def lock_memory() -> bool:
    """Locks all pages that the process uses or will use (mlockall(2)); whether that was allowed.

    Call it as root: an unprivileged process may only lock up to RLIMIT_MEMLOCK, and beyond it every allocation would
    fail. So nothing is locked unless that limit can be lifted (CAP_SYS_RESOURCE). Pages are locked when they are first
    used: what is only reserved costs nothing.
    """
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    # setrlimit raises ValueError where a hard limit may not be raised.
    except (OSError, ValueError) as error:
        _log.debug("memory is not locked, keys can reach swap: %s", error)
        return False
    return True
