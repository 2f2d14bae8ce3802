"""All checks in order, each of which may fail without ending the others."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tcpcryptd.control.errors import ControlError
from tcpcryptd.netio.daemon import DaemonConfig
from tcpcryptd.netio.doctor import kernel, running
from tcpcryptd.netio.doctor.egress import check_egress
from tcpcryptd.netio.doctor.finding import AS_ROOT, Finding
from tcpcryptd.netio.doctor.links import check_links
from tcpcryptd.netio.doctor.nft import check_nft, firewall_in_use
from tcpcryptd.netio.doctor.rules import check_rules
from tcpcryptd.netio.errors import DaemonError


def examine(config: DaemonConfig, control_socket: Path, library_port: int | None) -> Iterator[Finding]:
    """Checks this host without changing anything; errors of the kernel become findings."""
    if os.geteuid() != 0:
        yield Finding.problem("root", "not run by root: some checks are not possible", "sudo tcpcryptd doctor")
    try:
        counters = running.read_counters(control_socket)
        runs = counters is not None
    except ControlError:
        counters, runs = None, True
    used = firewall_in_use(config, counters)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("capabilities", kernel.check_capabilities),
        ("user", lambda: running.check_user(config.user)),
        ("NFQUEUE", kernel.check_queue),
        ("nft", lambda: check_nft(config, runs, used)),
        ("iptables", lambda: check_rules(config, runs, used)),
        ("conntrack", lambda: kernel.check_tracking(runs)),
        ("firewall", check_egress),
        ("SOCK_DESTROY", kernel.check_sockets),
        ("links", lambda: check_links(config.selection)),
        ("ECN", kernel.check_congestion_notification),
        ("queues", lambda: running.check_queues(config, runs)),
        ("daemon", lambda: running.check_daemon(control_socket)),
    ]
    if library_port is not None:
        checks.append(("libtcpcrypt port", lambda: running.check_port(library_port, runs)))
    for subject, check in checks:
        try:
            yield from check()
        except (OSError, DaemonError, subprocess.TimeoutExpired) as error:
            advice = "run it as root" if os.geteuid() != 0 else AS_ROOT
            yield Finding.problem(subject, f"cannot be checked: {error}", advice)
