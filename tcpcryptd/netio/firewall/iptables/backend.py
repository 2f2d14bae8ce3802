"""The rules in tables of iptables, behind the seam (`backend`)."""

import contextlib
import logging
import os
import shutil
import socket
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from tcpcryptd.netio.errors import ExitCode, FirewallError
from tcpcryptd.netio.firewall.backend import RuleState
from tcpcryptd.netio.firewall.iptables.order import order
from tcpcryptd.netio.firewall.iptables.rules import RAW_TABLE, TABLE, RuleSet, transaction
from tcpcryptd.netio.firewall.iptables.tool import (
    Iptables,
    chosen_variant,
    legacy_tables,
    our_chains,
    our_jumps,
    our_lines,
    queues_of,
    raw_tables,
    tables,
    tables_of_other_variant,
)
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.kernel.interfaces import vrf_names
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.process.program import SEARCH_PATH
from tcpcryptd.netio.queue_numbers import QueueNumbers

_log = logging.getLogger(__name__)


class IptablesRules:
    """See `backend.Firewall`. `lock_file`: see `tool.Iptables`."""

    name = "iptables"

    def __init__(
        self,
        selection: Selection,
        queues: QueueNumbers,
        marks: MarkScheme,
        lock_file: Path | None = None,
    ) -> None:
        self._selection = selection
        self._queues = queues
        self._marks = marks
        self._lock_file = lock_file
        self._variant: str | None = None
        """Of iptables, since the rules were installed: whoever chooses another one then does not get a second set."""
        self._installed: dict[tuple[int, str], list[str]] = {}
        self._in_force = selection
        self._vrfs = vrf_names()

    def rules(self, version: int) -> RuleSet:
        """The rules for IP version 4 or 6."""
        return RuleSet.build(self._selection, self._queues, self._marks, version, self._vrfs)

    def check(self) -> None:
        """See Firewall. What it needs of the kernel, the installation itself finds out."""
        if not self.is_there():
            raise FirewallError("iptables was not found: install the package iptables", ExitCode.UNSUPPORTED)

    def is_there(self) -> bool:
        """See Firewall."""
        return shutil.which("iptables-save", path=SEARCH_PATH) is not None

    def text(self) -> str:
        """See Firewall."""
        programs = {4: "iptables-restore", 6: "ip6tables-restore"}
        return "".join(f"# {name} --noflush\n{self.text_for(version)}" for version, name in programs.items())

    def text_for(self, version: int) -> str:
        """The same for one IP version, for iptables-restore --noflush."""
        text = transaction(_installation(self.rules(version), []))
        raw = self._raw_rules()
        return text + (transaction(_installation(raw, []), RAW_TABLE) if raw.chains else "")

    def select(self, selection: Selection) -> None:
        """See Firewall."""
        self._selection = selection

    def install(self) -> None:
        """See Firewall."""
        self._in_force = self._selection
        self._variant = chosen_variant(self._lock_file)
        for each in self._tables():
            self._install(each)
        _remove_from_other_variant(self._lock_file)

    def state(self) -> RuleState:
        """See Firewall."""
        states = set(map(self._state, self._tables()))
        if vrf_names() != self._vrfs:
            states.add(RuleState.MOVED)
        if self._selection != self._in_force:
            states.add(RuleState.OUTDATED)
        worst = (RuleState.DAMAGED, RuleState.OUTDATED, RuleState.MOVED, RuleState.INTACT)
        return next(each for each in worst if each in states)

    def repair(self) -> None:
        """See Firewall; all or nothing for each IP version."""
        known, self._vrfs = self._vrfs, vrf_names()
        selection = self._selection
        is_other = self._vrfs != known or selection != self._in_force
        for each in self._tables():
            if is_other or self._state(each) is not RuleState.INTACT:
                self._install(each)
        self._in_force = selection

    def legacy_versions(self) -> list[int]:
        """See Firewall; raises FirewallError."""
        return [each.version for each in tables(self._lock_file, self._variant) if each.is_legacy()]

    def _tables(self) -> list[Iptables]:
        """Those that hold rules. The raw ones come first: what they do matters once packets are diverted."""
        raw = raw_tables(self._lock_file, self._variant) if self._raw_rules().chains else []
        return raw + tables(self._lock_file, self._variant)

    def _raw_rules(self) -> RuleSet:
        return RuleSet.build_raw(self._selection, self._marks)

    def _install(self, table: Iptables) -> None:
        rules = self._rules_for(table)
        table.restore(transaction(_installation(rules, table.save()), table.table))
        installed = our_lines(table.save())
        if len(installed) != _size(rules):
            raise FirewallError("other rules than those that were installed are there", ExitCode.FAILURE)
        self._installed[table.version, table.table] = installed

    def _rules_for(self, table: Iptables) -> RuleSet:
        return self._raw_rules() if table.table == RAW_TABLE else self.rules(table.version)

    def _state(self, table: Iptables) -> RuleState:
        saved = table.save()
        if our_lines(saved) != self._installed.get((table.version, table.table)):
            return RuleState.DAMAGED
        # In the raw table nothing is decided that must not come first.
        return RuleState.INTACT if table.table == RAW_TABLE else order(saved, self._rules_for(table))

    def remove(self) -> None:
        """See Firewall. Those of the variant of iptables that is not the chosen one as well."""
        _remove_from_other_variant(self._lock_file, self._installed if self._variant == "legacy" else ())
        _remove_from_all(_used(tables(self._lock_file)) + _used_raw_tables(self._lock_file))

    def stale(self) -> bool:
        """See Firewall."""
        saved = (each.save() for each in _used(tables(self._lock_file)))
        return any(our_chains(each) or our_jumps(each) for each in saved) or bool(
            tables_of_other_variant(self._lock_file)
        )

    def queues_in_use(self) -> set[int]:
        """See Firewall."""
        every = _used(tables(self._lock_file)) + tables_of_other_variant(self._lock_file)
        return set[int]().union(*(queues_of(each.save()) for each in every))

    def announced(self) -> frozenset[tuple[int, str]]:
        """See Firewall."""
        return frozenset({(socket.AF_INET, TABLE), (socket.AF_INET6, TABLE)})


def _size(rules: RuleSet) -> int:
    """How many lines `our_lines` finds when all of them are there."""
    return len(rules.chains) + len(rules.jumps) + len(rules.last) + sum(map(len, rules.chains.values()))


def _remove_from_other_variant(lock_file: Path | None, legacy: Container[tuple[int, str]] = ()) -> None:
    found = tables_of_other_variant(lock_file, legacy)
    if found:
        _log.warning(
            "removing rules of tcpcryptd from %s, which were made before the variant was changed",
            " and ".join(dict.fromkeys(each.program for each in found)),
        )
        _remove_from_all(found)


def _remove_from_all(some: Iterable[Iptables]) -> None:
    """Removes all rules of ours from these tables; raises FirewallError, after the last one."""
    failure: FirewallError | None = None
    for each in some:
        try:
            _remove_from(each)
        except FirewallError as error:
            failure = error
    if failure is not None:
        raise failure


def _used(some: list[Iptables]) -> list[Iptables]:
    """Those that there may be: to look into a table of iptables-legacy makes it. Which there are only root can see."""
    known = os.geteuid() == 0
    return [each for each in some if not known or not each.is_legacy() or each.table in legacy_tables(each.version)]


def _used_raw_tables(lock_file: Path | None) -> list[Iptables]:
    """The raw tables with rules of ours. A system that does not have that table has none."""
    used = []
    for each in _used(raw_tables(lock_file)):
        with contextlib.suppress(FirewallError):
            if our_chains(each.save()):
                used.append(each)
    return used


def _remove_from(table: Iptables) -> None:
    saved = table.save()
    lines = [*_removal(saved)]
    if lines:
        table.restore(transaction(iter(lines), table.table))


def _removal(saved: list[str]) -> Iterator[str]:
    yield from (f"-D {jump}" for jump in our_jumps(saved))
    chains = our_chains(saved)
    yield from (f"-F {chain}" for chain in chains)
    yield from (f"-X {chain}" for chain in chains)


def _installation(rules: RuleSet, saved: list[str]) -> Iterator[str]:
    yield from (f"-D {jump}" for jump in our_jumps(saved))
    yield from rules.lines()
    obsolete = [chain for chain in our_chains(saved) if chain not in rules.chains]
    yield from (f"-F {chain}" for chain in obsolete)
    yield from (f"-X {chain}" for chain in obsolete)
    # At the head, where nothing that others' rules accept or drop can come between.
    yield from (f"-I {jump}" for jump in rules.jumps)
    yield from (f"-A {jump}" for jump in rules.last)
