"""iptables: what there is of it, whether the kernel takes the rules, and what is left of earlier ones."""

import shutil
import subprocess
from collections.abc import Iterator

from tcpcryptd.netio import capabilities
from tcpcryptd.netio.daemon import DaemonConfig
from tcpcryptd.netio.doctor.finding import Finding
from tcpcryptd.netio.doctor.foreign_marks import comparing, overwriting
from tcpcryptd.netio.errors import ExitCode, FirewallError
from tcpcryptd.netio.firewall.iptables.backend import IptablesRules
from tcpcryptd.netio.firewall.iptables.tool import (
    SEARCH_PATH,
    Iptables,
    our_chains,
    our_jumps,
    tables,
    tables_of_other_variant,
)

_AS_ROOT = "run it as root, outside of a container"
_TIMEOUT = 30.0
"""Seconds."""


def check_rules(config: DaemonConfig, running: bool) -> Iterator[Finding]:
    """All of it, for each IP version."""
    rules = IptablesRules(config.selection, config.queues, config.marks)
    for table in tables():
        subject = "iptables" if table.version == 4 else "ip6tables"
        try:
            yield _variant(subject, table)
            yield _trial(subject, rules.text_for(table.version))
            yield _own_rules(subject, table, running, config)
            yield from _others_rules(subject, table, config)
        except FirewallError as error:
            forbidden = error.exit_code == ExitCode.PERMISSION
            yield Finding.problem(subject, error.message, _AS_ROOT if forbidden else "install the package iptables")


def _variant(subject: str, table: Iptables) -> Finding:
    legacy = table.is_legacy()
    for other in tables_of_other_variant():
        if other.version == table.version:
            return Finding.problem(
                subject,
                f"rules of tcpcryptd are in the tables of {other.program}: the variant was changed since",
                "restart tcpcryptd, or run tcpcryptd --cleanup where none is running",
            )
    return Finding.ok(subject, "uses tables of its own (legacy)" if legacy else "uses nf_tables")


def _trial(subject: str, rules: str) -> Finding:
    """Installs the rules in a network namespace that ends with the command."""
    program = shutil.which(f"{subject}-restore", path=SEARCH_PATH)
    unshare = shutil.which("unshare", path=SEARCH_PATH)
    if program is None or unshare is None:
        return Finding.warning(f"{subject} rules", "cannot be tried: unshare is missing", "install util-linux")
    done = subprocess.run(  # noqa: S603 - paths from a fixed search path
        [unshare, "--net", program, "--noflush"],
        input=rules,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode == 0:
        return Finding.ok(f"{subject} rules", "the kernel takes all of them")
    if not capabilities.has_network_capabilities():
        # Says nothing of the kernel.
        return Finding.problem(f"{subject} rules", "not allowed to try them", _AS_ROOT)
    return Finding.problem(
        f"{subject} rules",
        f"the kernel does not take them: {' '.join(done.stderr.split())}",
        "a kernel with the targets NFQUEUE, CONNMARK and MARK and the matches connmark, mark, conntrack, addrtype and "
        "multiport; on small systems they are in packages of their own",
    )


def _own_rules(subject: str, table: Iptables, running: bool, config: DaemonConfig) -> Finding:
    saved = table.save()
    present, jumps = bool(our_chains(saved)), len(our_jumps(saved))
    subject = f"{subject} state"
    if running and config.manage_firewall and not (present and jumps):
        return Finding.problem(
            subject,
            "tcpcryptd runs and its rules are not there",
            "look at its log; scripts/launch_iptables.sh installs them for a daemon with --no-firewall",
        )
    if present and not running:
        return Finding.warning(
            subject,
            "rules of a tcpcryptd that was killed: connections that it encrypted stand still",
            "start tcpcryptd, or run: tcpcryptd --cleanup",
        )
    return Finding.ok(subject, "the rules of the running daemon" if present else "no rules of tcpcryptd")


def _others_rules(subject: str, table: Iptables, config: DaemonConfig) -> Iterator[Finding]:
    saved = table.save()
    subject = f"{subject} marks"
    for line in overwriting(saved, config.marks):
        yield Finding.warning(
            subject,
            f"a rule overwrites what keeps encrypted connections closed: {line}",
            "give it a mask without the bits of --mark-mask (docs/firewalls.md)",
        )
    for line in comparing(saved, config.marks):
        yield Finding.warning(
            subject,
            f"a rule compares the whole connection mark, and so matches no connection that tcpcryptd knows: {line}",
            "give it a mask without the bits of --mark-mask (docs/firewalls.md)",
        )
