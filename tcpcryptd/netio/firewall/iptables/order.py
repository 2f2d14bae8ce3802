"""Whether our jumps are the first rules of the built-in chains, and the last ones, as they have to be (`rules`)."""

import itertools
from collections.abc import Iterable

from tcpcryptd.netio.firewall.backend import RuleState
from tcpcryptd.netio.firewall.iptables.rules import CHAIN_PREFIX, RuleSet

_PASSING = frozenset(
    ("CHECKSUM", "CLASSIFY", "CONNMARK", "DSCP", "HL", "LOG", "MARK", "NFLOG", "SET", "TCPMSS", "TOS", "TTL")
)
"""Targets after which the next rule follows, and that send nothing."""


def order(saved: list[str], rules: RuleSet) -> RuleState:
    """Compares what iptables-save printed with what was installed; the rules themselves are all there."""
    before: list[str] = []
    behind: list[str] = []
    for chain in {jump.split()[0] for jump in rules.jumps + rules.last}:
        lines = [line for line in saved if line.startswith(f"-A {chain} ")]
        first = sum(jump.split()[0] == chain for jump in rules.jumps)
        last = sum(jump.split()[0] == chain for jump in rules.last)
        ours = [position for position, line in enumerate(lines) if leads_to_us(line)]
        # Ours keep their order among themselves.
        before += (line for line in lines[: ours[first - 1] + 1] if not leads_to_us(line))
        if last:
            behind += lines[ours[-last] + last :]
    if not all(map(_lets_pass, before)):
        return RuleState.DAMAGED
    return RuleState.MOVED if before or behind else RuleState.INTACT


def leads_to_us(line: str) -> bool:
    """Whether a rule's target is a chain of ours."""
    return any(target.startswith(CHAIN_PREFIX) for target in _targets(line.split()))


def _targets(words: list[str]) -> Iterable[str]:
    return (word for option, word in itertools.pairwise(words) if option in ("-j", "-g"))


def _lets_pass(line: str) -> bool:
    """Whether TCP goes on to the next rule, and nowhere else, whatever a rule of others matches."""
    words = line.split()
    protocols = [word for option, word in itertools.pairwise(words) if option == "-p"]
    if protocols and protocols[0] not in ("tcp", "all", "6", "0") and words[words.index("-p") - 1] != "!":
        return True
    return all(target in _PASSING for target in _targets(words))
