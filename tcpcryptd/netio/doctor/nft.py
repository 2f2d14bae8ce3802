"""nft: whether the kernel accepts the rules, and what is left of earlier ones. And which firewall is used."""

import os
from collections.abc import Iterator, Mapping

from tcpcryptd.netio.daemon import DaemonConfig
from tcpcryptd.netio.doctor.finding import AS_ROOT, Finding
from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.firewall import choice

_SUBJECT = "nft"
_ADVICE = (
    "the package nftables, and a kernel with CONFIG_NFT_QUEUE, CONFIG_NFT_FIB_INET and "
    "CONFIG_NETFILTER_NETLINK_GLUE_CT; or --firewall iptables"
)


def firewall_in_use(config: DaemonConfig, counters: Mapping[str, int] | None) -> str | None:
    """The firewall of the running daemon, by its counters, or of one that were started now.

    None: nobody's.
    """
    if counters is not None:
        return next((name for name in choice.NAMES if counters.get(f"rules_of_{name}")), None)
    try:
        return choice.choose(config.firewall, config.firewalls()).name if config.firewall is not None else None
    except DaemonError:
        return None


def check_nft(config: DaemonConfig, running: bool, used: str | None) -> Iterator[Finding]:
    """Of `used`, see firewall_in_use."""
    rules = config.firewalls()["nft"]
    if config.firewall in ("nft", choice.AUTO):
        try:
            rules.check()
            yield Finding.ok(f"{_SUBJECT} rules", "the kernel accepts all of them")
        except DaemonError as error:
            if os.geteuid() != 0:
                # It says nothing about nft.
                raise
            if config.firewall == "nft":
                forbidden = error.exit_code == ExitCode.PERMISSION
                yield Finding.problem(f"{_SUBJECT} rules", error.message, AS_ROOT if forbidden else _ADVICE)
            else:
                yield Finding.ok(f"{_SUBJECT} rules", f"cannot be used, so iptables is: {error.message}")
    if rules.is_there():
        yield own_rules(_SUBJECT, rules.stale(), running, used == rules.name)


def own_rules(subject: str, present: bool, running: bool, used: bool) -> Finding:
    """Checks the rules in a firewall; `used`: the firewall of the running daemon."""
    subject = f"{subject} state"
    if running and used and not present:
        return Finding.problem(
            subject,
            "tcpcryptd runs, but its rules are missing",
            "look at its log; scripts/launch_iptables.sh installs them for a daemon with --no-firewall",
        )
    if present and not running:
        return Finding.warning(
            subject,
            "rules of a tcpcryptd that was killed: connections that it encrypted stall",
            "start tcpcryptd, or run: tcpcryptd --cleanup",
        )
    return Finding.ok(subject, "the rules of the running daemon" if present else "no rules of tcpcryptd")
