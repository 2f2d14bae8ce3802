"""Programs that are run to their end."""

import subprocess
from collections.abc import Mapping, Sequence

SEARCH_PATH = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"


def completed(
    command: Sequence[str], *, given: str = "", environment: Mapping[str, str] | None = None, seconds: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """What the command printed, and its exit code; `given` is its standard input.

    Without an environment of its own it has SEARCH_PATH alone. Raises OSError, or subprocess.TimeoutExpired.
    """
    return subprocess.run(  # noqa: S603 - fixed words and a fixed search path
        command,
        input=given,
        env=environment or {"PATH": SEARCH_PATH},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
