"""Rules by owner and routes by user that stop packets of the daemon, since these have another user."""

import itertools
import shlex
from collections.abc import Iterator

from tcpcryptd.netio.doctor.finding import Finding
from tcpcryptd.netio.doctor.namespace import ip
from tcpcryptd.netio.firewall.iptables.tool import Iptables, legacy_tables, tables

_FILTER = "filter"
_CHAIN = "OUTPUT"
_REFUSALS = ("DROP", "REJECT")
_OWNER = ("owner", "cgroup")
"""Matches that look at the socket that a packet is from."""
_ESTABLISHED = "ESTABLISHED"


def check_egress() -> Iterator[Finding]:
    """Rules of the filter table, and of policy routing."""
    for table in tables():
        subject = "iptables filter" if table.version == 4 else "ip6tables filter"
        absent = table.is_legacy() and _FILTER not in legacy_tables(table.version)
        rule = None if absent else refusing_rule(Iptables(table.version, table=_FILTER).save())
        if rule is None:
            yield Finding.ok(subject, "no rule by owner blocks packets that the daemon itself sends")
        else:
            yield Finding.warning(
                subject,
                f"packets of the daemon itself have another user than the connection, and may be dropped: {rule}",
                f"{table.program} -I {_CHAIN} -p tcp -m conntrack --ctstate {_ESTABLISHED} -j ACCEPT",
            )
    for version in ("-4", "-6"):
        by_user = next((line for line in ip(version, "rule").splitlines() if "uidrange" in line), None)
        if by_user is not None:
            yield Finding.warning(
                "ip rule",
                f"does not hold for packets that the daemon itself sends, which have another user: {by_user.strip()}",
                "mark these connections instead (SO_MARK, or a rule for new ones with CONNMARK), and route by fwmark",
            )


def refusing_rule(saved: list[str]) -> str | None:
    """The first rule by owner in OUTPUT, where packets of established connections may be dropped; None: there is none.

    `saved`: of iptables-save, for the filter table. Chains that OUTPUT jumps to are looked into.
    """
    chains: dict[str, list[list[str]]] = {}
    policy = "ACCEPT"
    for line in saved:
        words = shlex.split(line)
        if line.startswith(f":{_CHAIN} "):
            policy = words[1]
        elif line.startswith("-A "):
            chains.setdefault(words[1], []).append(words)
    found: list[str] = []
    drops = [policy in _REFUSALS]
    _walk(chains, _CHAIN, found, drops, set())
    return found[0] if found and any(drops) else None


def _walk(chains: dict[str, list[list[str]]], chain: str, found: list[str], drops: list[bool], seen: set[str]) -> bool:
    """Whether a rule accepts all packets of established connections, so that what follows does not matter."""
    seen.add(chain)
    for words in chains.get(chain, []):
        target = _after(words, "-j", "-g")
        by_owner = any(_matches(words, name) for name in _OWNER)
        if target == "ACCEPT" and not by_owner and _ESTABLISHED in _after(words, "--ctstate", "--state").split(","):
            return True
        if by_owner:
            found.append(" ".join(words))
        if target in _REFUSALS:
            drops.append(True)
        elif target in chains and target not in seen and _walk(chains, target, found, drops, seen):
            return True
    return False


def _after(words: list[str], *options: str) -> str:
    return next((value for option, value in itertools.pairwise(words) if option in options), "")


def _matches(words: list[str], name: str) -> bool:
    return ("-m", name) in itertools.pairwise(words)
