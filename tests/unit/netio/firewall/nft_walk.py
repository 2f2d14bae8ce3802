"""A packet's way through the rules of nft, as the kernel would walk through them: one base chain after the other."""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from tcpcryptd.core.verdict import ConnectionClass, Direction
from tcpcryptd.netio.firewall.nft.rules import build
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers

MARKS = MarkScheme()
QUEUES = QueueNumbers(10, 11, 12)
PLAIN = MARKS.of_class(ConnectionClass.PLAIN)
ENCRYPTED = MARKS.of_class(ConnectionClass.ENCRYPTED)
STREAM = MARKS.of_class(ConnectionClass.STREAM)
UNDECIDED_QUEUE, ENCRYPTED_QUEUE, STREAM_QUEUE = "num 10 bypass", "num 11", "num 12"
FORWARD = Selection(all_ports=True, forward=("lan0", "lan+"))
FORWARDED = {each: MARKS.of_forwarded(each) for each in ConnectionClass}
OUTWARDS = {"iifname": "lan1", "oifname": "wan0"}
INWARDS = {"iifname": "wan0", "oifname": "lan0"}
INJECTED_IN, INJECTED_OUT = MARKS.of_injection(Direction.IN), MARKS.of_injection(Direction.OUT)

SET_MARK = re.compile(r"(meta|ct) mark set \1 mark & (0x\w+)(?: \| (0x\w+))?")
MARK = re.compile(r"(meta|ct) mark & (0x\w+) (==|!=) (\w+)")
QUEUE = re.compile(r"queue (num [\w -]+)$")
GO = re.compile(r"(goto|jump) (\w+)")
END = re.compile(r"(accept|drop|return|notrack)$")
FLAGS = re.compile(r"tcp flags & \([a-z |]+\) (==|!=) syn")
MATCH = re.compile(
    r"(meta nfproto|meta l4proto|meta priority|ct state|ct status|ct direction|ct original proto-\w+|"
    r"fib daddr(?: \. iif)? type|tcp dport|iifname|oifname|ip6? [sd]addr) (!= )?(\{ [^}]* \}|\S+)"
)


class Packet:
    """`facts`: what is not as of a segment of IPv4 that was not the first one of its connection."""

    def __init__(self, facts: Mapping[str, str], mark: int = 0, connmark: int = 0) -> None:
        self.facts = {
            "meta nfproto": "ipv4",
            "meta l4proto": "tcp",
            "ct state": "established",
            "ct status": "seen-reply",
            "fib": "local",
            "iifname": "eth0",
            "oifname": "eth0",
            "ct original proto-dst": "80",
            "ct original proto-src": "50000",
            "tcp dport": "80",
            "opening": "",
            **facts,
        }
        self.mark, self.connmark = mark, connmark

    def has(self, key: str, value: str) -> bool:
        values = value.strip("{ }").split(", ")
        if key.startswith("fib"):
            return self.facts["fib"] in values
        found = self.facts.get(key, "")
        if key.endswith("addr"):
            return bool(found) and any(ip_address(found) in ip_network(each) for each in values)
        if key.endswith("ifname"):
            names = [each.strip('"') for each in values]
            return any(found.startswith(each[:-1]) if each.endswith("*") else found == each for each in names)
        return found in values


class Walk:
    """A packet's way through base chains with the same hook."""

    def __init__(self, packet: Packet, selection: Selection | None = None, queues: QueueNumbers = QUEUES) -> None:
        self.chains = build(selection or Selection(all_ports=True), queues, MARKS)
        self.packet = packet

    def through(self, hook: str) -> str | None:
        """Where the packet ends; None when it goes on its way. A packet that is queued comes back as it is."""
        for name in self.of_hook(hook):
            end = self.chain(name)
            if end is not None and end not in ("accept", "return"):
                return end
        return None

    def of_hook(self, hook: str) -> list[str]:
        """The base chains in order."""
        found = {}
        for name, rules in self.chains.items():
            base = re.match(rf"type \w+ hook {hook} priority (-?\d+); policy accept;$", rules[0])
            if base is not None:
                found[int(base[1])] = name
        return [found[priority] for priority in sorted(found)]

    def chain(self, name: str) -> str | None:
        for rule in self.chains[name]:
            if not rule.startswith("type "):
                end = self.rule(rule)
                if end is not None:
                    return end
        return None

    def rule(self, rule: str) -> str | None:
        """What ends the chain."""
        rest = rule
        while rest:
            if found := SET_MARK.match(rest):
                self._set(found[1], int(found[2], 16), int(found[3] or "0", 16))
            elif found := QUEUE.match(rest) or END.match(rest):
                return found[1]
            elif found := GO.match(rest):
                end = self.chain(found[2])
                return end or "return" if found[1] == "goto" else (None if end == "return" else end)
            else:
                found, matches = self._match(rest)
                if not matches:
                    return None
            rest = rest[found.end() :].strip()
        return None

    def _match(self, rest: str) -> tuple[re.Match[str], bool]:
        if found := FLAGS.match(rest):
            return found, bool(self.packet.facts["opening"]) == (found[1] == "==")
        if found := MARK.match(rest):
            value = self.packet.mark if found[1] == "meta" else self.packet.connmark
            return found, (value & int(found[2], 16) == int(found[4], 16)) == (found[3] == "==")
        found = MATCH.match(rest)
        assert found is not None, rest
        return found, self.packet.has(found[1], found[3]) != bool(found[2])

    def _set(self, key: str, kept: int, value: int) -> None:
        if key == "meta":
            self.packet.mark = self.packet.mark & kept | value
        else:
            self.packet.connmark = self.packet.connmark & kept | value
