"""Gives up root: an unprivileged user, CAP_NET_ADMIN and CAP_NET_RAW, and nothing else."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

import prctl

from tcpcryptd.netio.errors import ExitCode, PrivilegeError
from tcpcryptd.netio.kernel import capabilities
from tcpcryptd.netio.process.memory import forbid_dumps

PREFERRED_USER = "tcpcryptd"
FALLBACK_USER = "nobody"

_KEPT = capabilities.mask_of(*capabilities.NETWORK_CAPABILITIES)
_TASKS = Path("/proc/self/task")


@dataclass(frozen=True)
class Account:
    """An unprivileged user."""

    name: str
    user_id: int
    group_id: int

    @classmethod
    def find(cls, name: str | None = None) -> "Account":
        """The user of that name; without a name, `tcpcryptd` where it exists, else `nobody`. Raises PrivilegeError."""
        for candidate in (name,) if name is not None else (PREFERRED_USER, FALLBACK_USER):
            try:
                entry = pwd.getpwnam(candidate)
            except KeyError:
                continue
            if entry.pw_uid == 0:
                raise PrivilegeError(f"user {candidate} is root: name an unprivileged one with --user", ExitCode.USAGE)
            return cls(candidate, entry.pw_uid, entry.pw_gid)
        raise PrivilegeError(
            f"there is no user {name or FALLBACK_USER}: create it, or name another with --user", ExitCode.USAGE
        )


def require_root() -> None:
    """Raises PrivilegeError unless the process is root with the capabilities that the daemon keeps."""
    if os.geteuid() != 0 or not capabilities.has_network_capabilities():
        raise PrivilegeError(
            "tcpcryptd must be started as root (CAP_NET_ADMIN, CAP_NET_RAW, CAP_SETUID, CAP_SETGID, CAP_SETPCAP); "
            "it gives up what it does not need",
            ExitCode.PERMISSION,
        )


def drop_privileges(account: Account) -> None:
    """Becomes that user for good, with the two network capabilities, and checks it; raises PrivilegeError.

    Capabilities belong to threads: start threads only afterwards. Those that libraries have started lose all of theirs.
    """
    try:
        capabilities.limit_bounding_set(_KEPT)
        prctl.set_keepcaps(1)
        os.setgroups([])
        os.setresgid(account.group_id, account.group_id, account.group_id)
        os.setresuid(account.user_id, account.user_id, account.user_id)
        _limit_capabilities()
        prctl.set_keepcaps(0)
        prctl.set_no_new_privs(1)
        # Keys are in memory, and the change of users may have made it readable.
        forbid_dumps()
    except OSError as error:
        raise PrivilegeError(f"privileges could not be given up: {error.strerror}", ExitCode.PERMISSION) from error
    verify_unprivileged(account)


def _limit_capabilities() -> None:
    kept = [prctl.CAP_NET_ADMIN, prctl.CAP_NET_RAW]
    prctl.set_caps((kept, prctl.CAP_EFFECTIVE, True), (kept, prctl.CAP_INHERITABLE, True))
    prctl.cap_effective.limit(*kept)
    prctl.cap_inheritable.limit(*kept)
    prctl.cap_permitted.limit(*kept)


def verify_unprivileged(account: Account) -> None:
    """Reads back what the process may do; raises PrivilegeError when it is more or less than it should be."""
    status = capabilities.read_status()
    expected = {
        "Uid": [str(account.user_id)] * 4,
        "Gid": [str(account.group_id)] * 4,
        "Groups": [],
        "NoNewPrivs": ["1"],
        "CapPrm": [f"{_KEPT:016x}"],
        "CapEff": [f"{_KEPT:016x}"],
        "CapInh": [f"{_KEPT:016x}"],
        "CapBnd": [f"{_KEPT:016x}"],
        "CapAmb": [f"{0:016x}"],
    }
    for name, values in expected.items():
        if status.get(name, "").split() != values:
            raise PrivilegeError(f"privileges were not given up: {name} is {status.get(name)}", ExitCode.PERMISSION)
    for task in _TASKS.iterdir():
        of_thread = capabilities.read_status(task / "status")
        if of_thread["Uid"].split() != expected["Uid"] or int(of_thread["CapPrm"], 16) & ~_KEPT:
            raise PrivilegeError(f"privileges were not given up by thread {task.name}", ExitCode.PERMISSION)
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise PrivilegeError("privileges were not given up: root can be regained", ExitCode.PERMISSION)
