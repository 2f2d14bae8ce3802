"""Runs iptables-save and iptables-restore, or their IPv6 counterparts, on one table."""

import contextlib
import os
import re
import shutil
from collections.abc import Container
from pathlib import Path

from tcpcryptd.netio.errors import FirewallError
from tcpcryptd.netio.firewall.iptables.order import leads_to_us
from tcpcryptd.netio.firewall.iptables.rules import CHAIN_PREFIX, RAW_TABLE, TABLE
from tcpcryptd.netio.firewall.program import run
from tcpcryptd.netio.process.program import SEARCH_PATH

_LOCK_WAIT = "10"
"""Seconds."""
_IPV6_FILE = Path("/proc/net/if_inet6")
_LEGACY_TABLES = {4: Path("/proc/net/ip_tables_names"), 6: Path("/proc/net/ip6_tables_names")}
_QUEUES = re.compile(r"--queue-(?:num|balance) (\d+)(?::(\d+))?")


class Iptables:
    """One table of one IP version; the mangle table, where no other is named.

    `lock_file` is what iptables-legacy locks in the place of /run/xtables.lock once that is not ours to write.
    """

    def __init__(
        self, version: int, lock_file: Path | None = None, variant: str | None = None, table: str = TABLE
    ) -> None:
        """`variant`: "nft" or "legacy"; None: the one that the system has chosen."""
        self.version = version
        self.table = table
        self.program = ("iptables" if version == 4 else "ip6tables") + (f"-{variant}" if variant else "")
        self._environment = {"PATH": SEARCH_PATH, "LC_ALL": "C"}
        if lock_file is not None and os.geteuid() != 0:
            self._environment["XTABLES_LOCKFILE"] = str(lock_file)

    def save(self) -> list[str]:
        """The lines of iptables-save for the table; raises FirewallError."""
        return self._run([f"{self.program}-save", "-t", self.table]).splitlines()

    def restore(self, transaction: str) -> None:
        """Applies a transaction; raises FirewallError, and nothing has changed then."""
        self._run([f"{self.program}-restore", "--noflush", "-w", _LOCK_WAIT], transaction)

    def is_legacy(self) -> bool:
        """Whether this iptables uses the tables of its own and not nf_tables; raises FirewallError."""
        return "nf_tables" not in self._run([self.program, "--version"])

    def _run(self, command: list[str], given: str = "") -> str:
        return run(command, given, self._environment, "iptables")


def tables(lock_file: Path | None = None, variant: str | None = None) -> list[Iptables]:
    """Those of IPv4, and of IPv6 when the kernel has it."""
    return [Iptables(version, lock_file, variant) for version in ((4, 6) if _IPV6_FILE.exists() else (4,))]


def raw_tables(lock_file: Path | None = None, variant: str | None = None) -> list[Iptables]:
    """The raw tables of the same versions."""
    return [Iptables(each.version, lock_file, variant, RAW_TABLE) for each in tables(lock_file, variant)]


def chosen_variant(lock_file: Path | None = None) -> str | None:
    """The variant that `iptables` is, "nft" or "legacy"; None where it has no name of its own. Raises FirewallError."""
    variant = "legacy" if Iptables(4, lock_file).is_legacy() else "nft"
    return variant if shutil.which(f"iptables-{variant}-save", path=SEARCH_PATH) else None


def tables_of_other_variant(lock_file: Path | None = None, legacy: Container[tuple[int, str]] = ()) -> list[Iptables]:
    """The tables with rules of ours that `iptables` does not show, since somebody has chosen another variant since.

    `legacy`: IP versions and names of tables that iptables-legacy is known to have; only root can see which there are.
    Raises FirewallError.
    """
    variant = "nft" if Iptables(4, lock_file).is_legacy() else "legacy"
    found = []
    for each in tables(lock_file, variant) + raw_tables(lock_file, variant):
        # To look into a table of iptables-legacy makes it.
        if variant == "nft" or (each.version, each.table) in legacy or each.table in legacy_tables(each.version):
            with contextlib.suppress(FirewallError):
                if our_chains(each.save()):
                    found.append(each)
    return found


def legacy_tables(version: int) -> list[str]:
    """The tables of iptables-legacy that there are."""
    try:
        return _LEGACY_TABLES[version].read_text(encoding="ascii").split()
    except OSError:
        return []


def our_jumps(saved: list[str]) -> list[str]:
    """Rules of others' chains that lead into ours, without the leading -A."""
    return [
        line.removeprefix("-A ")
        for line in saved
        if line.startswith("-A ") and not line.startswith(f"-A {CHAIN_PREFIX}") and leads_to_us(line)
    ]


def our_chains(saved: list[str]) -> list[str]:
    """The names of our chains."""
    return [line[1:].split()[0] for line in saved if line.startswith(f":{CHAIN_PREFIX}")]


def queues_of(saved: list[str]) -> set[int]:
    """The numbers of the queues that our rules divert to."""
    numbers: set[int] = set()
    for line in saved:
        if line.startswith(f"-A {CHAIN_PREFIX}") and (found := _QUEUES.search(line)):
            first, last = found[1], found[2] or found[1]
            numbers.update(range(int(first), int(last) + 1))
    return numbers


def our_lines(saved: list[str]) -> list[str]:
    """Our chains, their rules in order, and the jumps into them, as iptables-save prints them without counters."""
    rules = [line for line in saved if line.startswith(f"-A {CHAIN_PREFIX}")]
    return sorted(our_chains(saved)) + sorted(our_jumps(saved)) + sorted(rules, key=lambda rule: rule.split()[1])
