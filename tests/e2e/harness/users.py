"""Commands that run on a host as other users."""

import os
import stat

from tests.e2e.harness.namespace import ROOT

# A checkout in root's home is bound to where it was, below a directory that everybody may pass. The mounts are the
# command's own, as all of a host's commands have their own.
_REACHABLE = """
mkdir -p /run/checkout
mount --bind "$0" /run/checkout
mount -t tmpfs -o mode=755 none "$1"
mkdir -p "$0"
mount --bind /run/checkout "$0"
cd "$0"
shift
exec "$@"
"""


def as_user(user: int) -> list[str]:
    """What comes before a command on a host so that this user runs it, wherever the checkout is."""
    change = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    closed = [each for each in reversed(ROOT.parents) if not os.stat(each).st_mode & stat.S_IXOTH]
    return ["sh", "-euc", _REACHABLE, str(ROOT), str(closed[0]), *change] if closed else change


NOBODY = as_user(65534)
