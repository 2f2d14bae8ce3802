"""Runs a firewall's programs."""

import subprocess
from collections.abc import Mapping, Sequence

from tcpcryptd.netio.errors import ExitCode, FirewallError
from tcpcryptd.netio.kernel import capabilities
from tcpcryptd.netio.process.program import completed


def run(command: Sequence[str], given: str, environment: Mapping[str, str], package: str) -> str:
    """What the command prints; raises FirewallError. `package` has it."""
    try:
        with capabilities.passed_to_children():
            done = completed(command, given=given, environment=environment)
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
