"""A packet's way through the rules of iptables, as the kernel would walk through them."""

import itertools
from collections.abc import Mapping
from ipaddress import ip_network

from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio.firewall.iptables.rules import RuleSet
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers

MARKS = MarkScheme()
QUEUES = QueueNumbers(10, 11, 12)
PLAIN = MARKS.of_class(ConnectionClass.PLAIN)
ENCRYPTED = MARKS.of_class(ConnectionClass.ENCRYPTED)
STREAM = MARKS.of_class(ConnectionClass.STREAM)
TO_QUEUE = "NFQUEUE --queue-num 10 --queue-bypass"
TO_ENCRYPTED_QUEUE = "NFQUEUE --queue-num 11"
TO_STREAM_QUEUE = "NFQUEUE --queue-num 12"
FORWARD = Selection(all_ports=True, forward=("lan0", "lan1"))
FORWARDED = {each: MARKS.of_forwarded(each) for each in ConnectionClass}
OUTWARDS = {"-i": "lan1", "-o": "wan0"}
INWARDS = {"-i": "wan0", "-o": "lan0"}
FORWARDED_MARKS = [mark for each, mark in FORWARDED.items() if each is not ConnectionClass.PLAIN]


def build(selection: Selection | None = None, version: int = 4) -> RuleSet:
    return RuleSet.build(selection or Selection(all_ports=True), QUEUES, MARKS, version)


class Walk:
    """A packet's way through one chain: `facts` maps options such as --ctorigdstport to what the packet has."""

    def __init__(self, rules: RuleSet, facts: Mapping[str, str], mark: int = 0, connmark: int = 0) -> None:
        self._rules = rules
        self._facts = {"--ctstate": "ESTABLISHED", "--dst-type": "LOCAL", "-p": "tcp", **facts}
        self.mark = mark
        self.connmark = connmark

    def through(self, chain: str) -> str | None:
        """Where the packet ends: the target, or None when it goes on its way."""
        for rule in self._rules.chains[chain]:
            words = rule.split()
            at = next(number for number, word in enumerate(words) if word in ("-j", "-g"))
            if not self._matches(words[:at]):
                continue
            target = words[at + 1]
            if words[at] == "-g":
                return self.through(target)
            if target in self._rules.chains:
                assert self.through(target) is None
                continue
            if target == "RETURN":
                return None
            if target == "ACCEPT":
                return target
            if target == "DROP":
                return target
            if target == "NFQUEUE":
                return " ".join(words[at + 1 :])
            self._apply(words[at + 1 :])
        return None

    def _matches(self, words: list[str]) -> bool:
        module, negated = "", False
        for word, value in itertools.pairwise([*words, ""]):
            if word == "-m":
                module = value
            elif word == "!":
                negated = True
            elif word.startswith("-"):
                if self._has(module, word, value) == negated:
                    return False
                negated = False
        return True

    def _has(self, module: str, option: str, value: str) -> bool:
        if option == "--mark":
            wanted, mask = (int(number, 16) for number in (value if "/" in value else f"{value}/0xffffffff").split("/"))
            return (self.connmark if module == "connmark" else self.mark) & mask == wanted
        if option == "--syn":
            return option in self._facts
        if option == "--ports":
            # Without address translation the port that was connected to is one of the segment's.
            ports = {self._facts.get(each) for each in ("--dport", "--ctorigdstport", "--ctorigsrcport")}
            return bool(ports & set(value.split(",")))
        if option in ("-s", "-d"):
            return ip_network(self._facts.get(option, "192.0.2.1")).subnet_of(ip_network(value))  # type: ignore[arg-type]
        return self._facts.get(option) == value

    def _apply(self, words: list[str]) -> None:
        if words[1] == "--save-mark":
            self.connmark = self.connmark & ~MARKS.mask | self.mark & MARKS.mask
        elif words[0] == "MARK":
            self.mark = self.mark & ~MARKS.mask | int(words[2].split("/")[0], 16)
        elif words[:2] == ["CONNMARK", "--set-xmark"]:
            self.connmark = self.connmark & ~MARKS.mask | int(words[2].split("/")[0], 16)
        else:
            raise AssertionError(words)
