"""iptables: whether it is there, whether the kernel accepts the rules, and what is left of earlier ones."""

import shutil
from collections.abc import Iterator

from tcpcryptd.netio.daemon import DaemonConfig
from tcpcryptd.netio.doctor.finding import AS_ROOT, Finding
from tcpcryptd.netio.doctor.foreign_marks import comparing, overwriting
from tcpcryptd.netio.doctor.nft import own_rules
from tcpcryptd.netio.errors import ExitCode, FirewallError
from tcpcryptd.netio.firewall.iptables.backend import IptablesRules
from tcpcryptd.netio.firewall.iptables.tool import Iptables, our_chains, our_jumps, tables, tables_of_other_variant
from tcpcryptd.netio.kernel import capabilities
from tcpcryptd.netio.process.program import SEARCH_PATH, completed


def check_rules(config: DaemonConfig, running: bool, used: str | None) -> Iterator[Finding]:
    """All of it, for each IP version. `used`: see `nft.firewall_in_use`; another one needs no iptables."""
    rules = IptablesRules(config.selection, config.queues, config.marks)
    is_used = used in (rules.name, None)
    if not is_used and not rules.is_there():
        yield Finding.ok(rules.name, "is missing, and not needed")
        return
    for table in tables():
        subject = "iptables" if table.version == 4 else "ip6tables"
        try:
            yield _variant(subject, table)
            if is_used:
                yield _trial(subject, rules.text_for(table.version))
            saved = table.save()
            present = bool(our_chains(saved)) and (not running or bool(our_jumps(saved)))
            yield own_rules(subject, present, running, used == rules.name)
            yield from _others_rules(subject, table, config)
        except FirewallError as error:
            forbidden = error.exit_code == ExitCode.PERMISSION
            yield Finding.problem(subject, error.message, AS_ROOT if forbidden else "install the package iptables")


def _variant(subject: str, table: Iptables) -> Finding:
    legacy = table.is_legacy()
    for other in tables_of_other_variant():
        if other.version == table.version:
            return Finding.problem(
                subject,
                f"rules of tcpcryptd are in the tables of {other.program}: the variant was changed since",
                "restart tcpcryptd, or run tcpcryptd --cleanup if none is running",
            )
    return Finding.ok(subject, "uses tables of its own (legacy)" if legacy else "uses nf_tables")


def _trial(subject: str, rules: str) -> Finding:
    """Installs the rules in a network namespace that ends with the command."""
    program = shutil.which(f"{subject}-restore", path=SEARCH_PATH)
    unshare = shutil.which("unshare", path=SEARCH_PATH)
    if program is None or unshare is None:
        return Finding.warning(f"{subject} rules", "cannot be tried: unshare is missing", "install util-linux")
    done = completed([unshare, "--net", program, "--noflush"], given=rules)
    if done.returncode == 0:
        return Finding.ok(f"{subject} rules", "the kernel accepts all of them")
    if not capabilities.has_network_capabilities():
        # Says nothing of the kernel.
        return Finding.problem(f"{subject} rules", "not allowed to try them", AS_ROOT)
    return Finding.problem(
        f"{subject} rules",
        f"the kernel does not accept them: {' '.join(done.stderr.split())}",
        "a kernel with the targets NFQUEUE, CONNMARK and MARK and the matches connmark, mark, conntrack, addrtype and "
        "multiport; on small systems they are in packages of their own",
    )


def _others_rules(subject: str, table: Iptables, config: DaemonConfig) -> Iterator[Finding]:
    saved = table.save()
    subject = f"{subject} marks"
    for line in overwriting(saved, config.marks):
        yield Finding.warning(
            subject,
            f"a rule overwrites the marks that keep encrypted connections closed: {line}",
            "give it a mask without the bits of --mark-mask (docs/firewalls.md)",
        )
    for line in comparing(saved, config.marks):
        yield Finding.warning(
            subject,
            f"a rule compares the whole connection mark, so it matches no connection that tcpcryptd knows: {line}",
            "give it a mask without the bits of --mark-mask (docs/firewalls.md)",
        )
