"""Installs, shows and removes the rules; `python3 -m tcpcryptd.netio.firewall --help` does it from a shell."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path

from tcpcryptd.netio.errors import DaemonError, ExitCode, FirewallError
from tcpcryptd.netio.interfaces import vrf_names
from tcpcryptd.netio.iptables import (
    Iptables,
    chosen_variant,
    our_chains,
    our_jumps,
    our_lines,
    queues_of,
    raw_tables,
    tables,
    tables_of_other_variant,
)
from tcpcryptd.netio.marks import DEFAULT_MASK, MarkScheme
from tcpcryptd.netio.queue_numbers import DEFAULT_QUEUE, QueueNumbers, default_workers
from tcpcryptd.netio.rule_order import RuleState, order
from tcpcryptd.netio.rules import RAW_TABLE, RuleSet, transaction
from tcpcryptd.netio.selection import SELF_ENCRYPTED_PORTS, Selection

_log = logging.getLogger(__name__)


class Firewall:
    """The rules for one selection. `lock_file`: see `iptables.Iptables`."""

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
        self._vrfs = vrf_names()

    def rules(self, version: int) -> RuleSet:
        """The rules for IP version 4 or 6."""
        return RuleSet.build(self._selection, self._queues, self._marks, version, self._vrfs)

    def text(self, version: int) -> str:
        """What installs the rules where there are none, for iptables-restore --noflush."""
        text = transaction(_installation(self.rules(version), []))
        raw = self._raw_rules()
        return text + (transaction(_installation(raw, []), RAW_TABLE) if raw.chains else "")

    def install(self) -> None:
        """Puts the rules in the place of any of ours that are there; raises FirewallError, and leaves none then."""
        try:
            self._variant = chosen_variant(self._lock_file)
            for each in self._tables():
                self._install(each)
            _remove_from_other_variant(self._lock_file)
        except FirewallError:
            remove(self._lock_file)
            raise

    def state(self) -> RuleState:
        """Whether all that was installed is there, and where it has to be; raises FirewallError."""
        states = set(map(self._state, self._tables()))
        if vrf_names() != self._vrfs:
            states.add(RuleState.MOVED)
        worst = (RuleState.DAMAGED, RuleState.MOVED, RuleState.INTACT)
        return next(each for each in worst if each in states)

    def repair(self) -> None:
        """Installs the rules again where they are not intact, all or nothing for each IP version.

        Raises FirewallError.
        """
        known, self._vrfs = self._vrfs, vrf_names()
        for each in self._tables():
            if self._vrfs != known or self._state(each) is not RuleState.INTACT:
                self._install(each)

    def legacy_versions(self) -> list[int]:
        """The IP versions whose rules are in tables of iptables-legacy; raises FirewallError."""
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
        """Removes all rules of ours; raises FirewallError."""
        remove(self._lock_file)

    def stale(self) -> bool:
        """Whether any rule or chain of ours is there; raises FirewallError."""
        saved = (each.save() for each in tables(self._lock_file))
        return any(our_chains(each) or our_jumps(each) for each in saved) or bool(
            tables_of_other_variant(self._lock_file)
        )


def queues_in_use(lock_file: Path | None = None) -> set[int]:
    """The queues that rules of ours divert to, whoever installed them; raises FirewallError."""
    every = tables(lock_file) + tables_of_other_variant(lock_file)
    return set[int]().union(*(queues_of(each.save()) for each in every))


def _size(rules: RuleSet) -> int:
    """How many lines `our_lines` finds when all of them are there."""
    return len(rules.chains) + len(rules.jumps) + len(rules.last) + sum(map(len, rules.chains.values()))


def remove(lock_file: Path | None = None) -> None:
    """Removes all rules of ours, whoever installed them with whichever options, and no others; raises FirewallError.

    Those of the variant of iptables that is not the chosen one as well.
    """
    _remove_from_other_variant(lock_file)
    _remove_from_all(tables(lock_file) + _used_raw_tables(lock_file))


def _remove_from_other_variant(lock_file: Path | None) -> None:
    found = tables_of_other_variant(lock_file)
    if found:
        _log.warning(
            "removing rules of tcpcryptd that %s has, which were made before the variant was changed",
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


def _used_raw_tables(lock_file: Path | None) -> list[Iptables]:
    """The raw tables with rules of ours. A system that does not have that table has none."""
    used = []
    for each in raw_tables(lock_file):
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


def add_selection_options(parser: argparse.ArgumentParser) -> None:
    """The options that `Selection` is made of."""
    own = ", ".join(map(str, SELF_ENCRYPTED_PORTS))
    parser.add_argument("--port", type=int, action="append", default=[], help="only this port; may be repeated")
    parser.add_argument("--exclude-port", type=int, action="append", default=[], help="not this port; may be repeated")
    parser.add_argument("--all-ports", action="store_true", help=f"also ports that carry their own encryption: {own}")
    parser.add_argument("--interface", action="append", default=[], help="only this interface; may be repeated")
    parser.add_argument("--loopback", action="store_true", help="also connections within this host")
    parser.add_argument(
        "--forward",
        metavar="INTERFACE",
        action="append",
        default=[],
        help="also connections that are forwarded between this interface and others; may be repeated",
    )
    parser.add_argument(
        "--address",
        type=ip_network,
        action="append",
        default=[],
        help="only remote hosts of this network; may be repeated",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=os.environ.get("TCPCRYPTD_PROGRAM", "firewall"),
        description="Rules that divert TCP to tcpcryptd, for those who want to own them (tcpcryptd --no-firewall).",
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--install", action="store_true", help="install the rules, in the place of any that are there")
    action.add_argument("--remove", action="store_true", help="remove all rules of tcpcryptd, and no others")
    action.add_argument("--print", action="store_true", help="print what --install gives to iptables-restore")
    add_selection_options(parser)
    parser.add_argument(
        "--workers",
        type=int,
        default=default_workers(),
        help="as many as the daemon has (default: one for each core that this command may use)",
    )
    parser.add_argument(
        "--queue",
        type=int,
        default=DEFAULT_QUEUE,
        help=f"first of the queue numbers, three for each worker (default {DEFAULT_QUEUE})",
    )
    parser.add_argument(
        "--mark-mask",
        type=lambda text: int(text, 0),
        default=DEFAULT_MASK,
        help=f"bits of the packet mark to use (default {DEFAULT_MASK:#x})",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        selection = Selection(
            ports=tuple(options.port),
            exclude_ports=tuple(options.exclude_port),
            all_ports=options.all_ports,
            interfaces=tuple(options.interface),
            addresses=tuple(options.address),
            forward=tuple(options.forward),
            loopback=options.loopback,
        )
        queues = QueueNumbers.starting_at(options.queue, options.workers)
        firewall = Firewall(selection, queues, MarkScheme(options.mark_mask))
    except ValueError as error:
        parser.error(str(error))
    try:
        if options.print:
            for version, program in ((4, "iptables-restore"), (6, "ip6tables-restore")):
                sys.stdout.write(f"# {program} --noflush\n{firewall.text(version)}")
        elif options.install:
            firewall.install()
        else:
            firewall.remove()
    except DaemonError as error:
        sys.stderr.write(f"{parser.prog}: {error.message}\n")
        return error.exit_code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
