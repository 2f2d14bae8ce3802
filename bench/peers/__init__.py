"""Other ways to encrypt TCP between the two hosts of a network, with keys of their own in the hosts' directories."""

import shutil

from bench.route import Unavailable

INSTALLS_THEM = "`make bench-peers` installs it"


def find_program(name: str) -> str:
    """The path of a program; raises Unavailable when it is not installed."""
    # A user's PATH may lack these, and sshd insists on being called by its whole path.
    path = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        raise Unavailable(f"{name} is not installed: {INSTALLS_THEM}")
    return path
