"""Runs a firewall's programs."""

import subprocess
from collections.abc import Mapping, Sequence

from tcpcryptd.netio.errors import ExitCode, FirewallError
from tcpcryptd.netio.kernel import capabilities

SEARCH_PATH = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
_TIMEOUT = 30
"""Seconds."""


def run(command: Sequence[str], given: str, environment: Mapping[str, str], package: str) -> str:
    """What the command prints; raises FirewallError. `package` has it."""
    try:
        with capabilities.passed_to_children():
            done = subprocess.run(  # noqa: S603 - fixed words and a fixed search path
                command,
                input=given,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
    except FileNotFoundError as error:
        raise FirewallError(
            f"{command[0]} was not found: install the package {package}", ExitCode.UNSUPPORTED
        ) from error
    except PermissionError as error:
        raise FirewallError(f"not allowed to use {command[0]}: run as root", ExitCode.PERMISSION) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FirewallError(f"{command[0]} could not be run: {error}") from error
    if done.returncode != 0:
        if not capabilities.has_network_capabilities():
            raise FirewallError(f"not allowed to use {command[0]}: run as root", ExitCode.PERMISSION)
        complaint = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise FirewallError(f"{command[0]} failed: {complaint}", ExitCode.UNSUPPORTED)
    return done.stdout
