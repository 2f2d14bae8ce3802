"""The firewall rules that divert TCP to the daemon, as text for iptables-restore.

Connections are of four classes, which the connection mark keeps (see `marks`): plain ones skip the daemon, encrypted
ones must pass it, stream ones too but in packets as large as the kernel has them, undecided ones pass it when there is
one. All rules are in the mangle table, in chains of our own, so that they come before address translation of what is
sent and know the connection.

Our jumps are the first rules of the built-in chains. A packet that the daemon lets pass goes through its chain once
more, with the mark of its verdict (NF_REPEAT): our rules keep the class as the connection mark, clear the mark and
return, so that the rules of others behind ours see the packet as the daemon left it, once, and the route is looked up
with the mark that they give it. The last rules of OUTPUT and PREROUTING are ours again: a mark of ours that somebody
has copied from the connection would keep `ip rule fwmark` from finding the route.

A SYN never skips the daemon for the connection's mark: what was plain is over. Connection tracking makes a connection
of a forged segment as well, in the direction in which that was sent, and keeps it for days unless it sees an RST in
answer. A later connection with the same addresses and ports is taken for the same one then, the port that was connected
to is in the wrong place, and some segments of its handshake are invalid: this must not decide what is encrypted.

Connections of hosts behind this one are diverted in FORWARD, where both directions have the inside host's own address:
it is translated later on the way out and earlier on the way in. Their connection marks are others, which PREROUTING
leaves alone: translated, their packets come in there as packets for this host.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tcpcryptd.core.verdict import ConnectionClass, Direction
from tcpcryptd.netio.firewall.iptables.icmp_rules import IcmpRules
from tcpcryptd.netio.firewall.iptables.mark_rules import NOT_OPENING, OPENING, MarkRules
from tcpcryptd.netio.firewall.iptables.vrf_rules import NOT_LOCAL, beside_vrfs
from tcpcryptd.netio.firewall.selection import LOOPBACK, Network, Selection
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers

TABLE = "mangle"
RAW_TABLE = "raw"
"""Keeps packets injected towards a host behind this one from connection tracking."""
CHAIN_PREFIX = "TCPCRYPTD_"

_PLAIN_CHAIN = CHAIN_PREFIX + "PLAIN"
_QUEUE_CHAIN = CHAIN_PREFIX + "QUEUE"
_HOLD_CHAIN = CHAIN_PREFIX + "HOLD"
_SAVE_OUT_CHAIN = CHAIN_PREFIX + "SAVE_OUT"
_SAVE_IN_CHAIN = CHAIN_PREFIX + "SAVE_IN"
_NOT_HANDLED_CHAIN = CHAIN_PREFIX + "NOT_HANDLED"
_HANDLED_CHAIN = CHAIN_PREFIX + "HANDLED"
_SEEN_CHAIN = CHAIN_PREFIX + "SEEN"
_LAST_CHAIN = CHAIN_PREFIX + "LAST"
_FORWARD_NOT_HANDLED_CHAIN = CHAIN_PREFIX + "FWD_NOT_HANDLED"
_FORWARD_HANDLED_CHAIN = CHAIN_PREFIX + "FWD_HANDLED"
_ARRIVED_CHAIN = CHAIN_PREFIX + "ARRIVED"
_FORWARD_CHAIN = CHAIN_PREFIX + "FWD"
_FROM_INSIDE_CHAIN = CHAIN_PREFIX + "FWD_INSIDE"
_FORWARD_QUEUE_CHAIN = CHAIN_PREFIX + "FWD_QUEUE"
_FORWARD_HOLD_CHAIN = CHAIN_PREFIX + "FWD_HOLD"
_UNTRACKED_CHAIN = CHAIN_PREFIX + "UNTRACKED"
_MULTIPORT_LIMIT = 15
"""Ports that one rule can name (iptables-extensions(8), multiport)."""


@dataclass(frozen=True)
class RuleSet:
    """All rules for one IP version."""

    chains: dict[str, list[str]]
    """Of our own: rules without the chain's name."""
    jumps: list[str]
    """Into our chains: a built-in chain's name and the rule. They come before all rules of others."""
    last: list[str]
    """The same, behind all rules of others."""

    @classmethod
    def build(
        cls, selection: Selection, queues: QueueNumbers, marks: MarkScheme, version: int, vrfs: tuple[str, ...] = ()
    ) -> "RuleSet":
        """The rules for IP version 4 or 6; `vrfs`: names of VRF devices."""
        builder = _Builder(selection, queues, marks, version)
        chains = builder.shared_chains()
        for direction in Direction:
            chains |= builder.direction_chains(_local(direction))
        if selection.forward:
            chains |= builder.forward_chains()
            for direction in Direction:
                chains |= builder.direction_chains(_forwarded(direction))
        return cls(beside_vrfs(chains, vrfs, builder.passes()), builder.jumps(), builder.last())

    @classmethod
    def build_raw(cls, selection: Selection, marks: MarkScheme) -> "RuleSet":
        """The rules of the raw table: none, unless connections of other hosts are encrypted.

        What is injected towards an inside host has the outside host's address for its source, and where addresses are
        translated no tracked connection has these two: it would be taken for a new one, and translated.
        """
        if not selection.forward:
            return cls({}, [], [])
        injected = marks.match(marks.of_injection(Direction.IN))
        jump = f"OUTPUT ! -o lo -m mark --mark {injected} -j {_UNTRACKED_CHAIN}"
        return cls({_UNTRACKED_CHAIN: ["-j CT --notrack"]}, [jump], [])

    def lines(self) -> Iterator[str]:
        """What declares and fills the chains; each is emptied first where it exists."""
        for chain in self.chains:
            yield f":{chain} - [0:0]"
        for chain, rules in self.chains.items():
            for rule in rules:
                yield f"-A {chain} {rule}"


def transaction(lines: Iterator[str], table: str = TABLE) -> str:
    """Input for `iptables-restore --noflush`, which does all of it or nothing."""
    return "\n".join([f"*{table}", *lines, "COMMIT", ""])


@dataclass(frozen=True)
class _Path:
    """One direction of this host's own connections, or of those of the hosts behind it."""

    direction: Direction
    is_forwarded: bool
    chain: str
    queue_chain: str
    hold_chain: str
    """The same for what must not go on without a daemon."""


def _local(direction: Direction) -> _Path:
    return _Path(direction, False, _chain(direction), _QUEUE_CHAIN, _HOLD_CHAIN)


def _forwarded(direction: Direction) -> _Path:
    return _Path(direction, True, f"{_FORWARD_CHAIN}_{direction.name}", _FORWARD_QUEUE_CHAIN, _FORWARD_HOLD_CHAIN)


class _Builder:
    def __init__(self, selection: Selection, queues: QueueNumbers, marks: MarkScheme, version: int) -> None:
        self._selection = selection
        self._queues = queues
        self._marks = marks
        self._about = MarkRules(marks)
        firsts = {Direction.OUT: queues.encrypted, Direction.IN: queues.undecided}
        self._errors = IcmpRules(CHAIN_PREFIX, selection.forward, firsts, marks, version)
        self._version = version

    def jumps(self) -> list[str]:
        marked = f"-p tcp {self._about.marked}"
        jumps = [
            f"OUTPUT -p tcp -j {_chain(Direction.OUT)}",
            f"PREROUTING -p tcp -j {_chain(Direction.IN)}",
            f"POSTROUTING {marked} -j {_SAVE_OUT_CHAIN}",
            f"POSTROUTING -p tcp --tcp-flags SYN,RST SYN {self._about.marked_by_others} -j {_SEEN_CHAIN}",
            f"INPUT {marked} -j {_SAVE_IN_CHAIN}",
        ]
        if self._selection.forward:
            jumps += [
                f"FORWARD -p tcp -j {_FORWARD_CHAIN}",
                f"INPUT {OPENING} -m mark --mark {self._marks.match(0)} -j {_ARRIVED_CHAIN}",
            ]
        else:
            # Where addresses are translated, its next packets come in as packets for this host.
            jumps.append(f"FORWARD -p tcp -m connmark --mark {self._marks.match(0)} -j {_PLAIN_CHAIN}")
        # Each is put before those that come earlier here: segments, of which there are more, find theirs first.
        return [*self._errors.jumps(), *jumps]

    def passes(self) -> dict[str, str]:
        """See beside_vrfs."""
        out = (_chain(Direction.OUT), _SAVE_OUT_CHAIN, _SEEN_CHAIN)
        return dict.fromkeys(out, "-o") | {_chain(Direction.IN): "-i"} | self._errors.passes()

    def last(self) -> list[str]:
        """Those behind all rules of others."""
        return [f"{chain} -p tcp {self._about.marked} -j {_LAST_CHAIN}" for chain in ("OUTPUT", "PREROUTING")]

    def shared_chains(self) -> dict[str, list[str]]:
        """Where the other chains end, and those for packets that carry a mark of ours."""
        about = self._about
        plain = about.of_class(ConnectionClass.PLAIN)
        held = _target(self._queues, self._queues.undecided)
        to_undecided = f"{held} --queue-bypass"
        # A SYN: the connection that was plain is over, or never was one.
        reopened = f"-m connmark --mark {plain} -j CONNMARK --set-xmark {self._marks.match(0)}"
        return {
            # The mark that tells a forwarded packet's direction is of no use to anybody else.
            _PLAIN_CHAIN: [f"-j CONNMARK --set-xmark {plain}", *([about.clear] if self._selection.forward else [])],
            _QUEUE_CHAIN: [reopened, to_undecided],
            **({_HOLD_CHAIN: [reopened, held]} if self._requires else {}),
            # Not what is plain, nor what is forwarded.
            _SEEN_CHAIN: [
                f"-m connmark --mark {about.of_class(each)} {to_undecided}"
                for each in ConnectionClass
                if each is not ConnectionClass.PLAIN
            ],
            _NOT_HANDLED_CHAIN: [*about.not_handled()],
            _HANDLED_CHAIN: [*about.handled()],
            _LAST_CHAIN: [*about.last()],
            _SAVE_OUT_CHAIN: [*about.leaving()],
            # With --forward, INPUT diverts as well.
            _SAVE_IN_CHAIN: [*(about.saved() if self._selection.forward else ()), about.clear],
            **self._errors.chains(),
        }

    def forward_chains(self) -> dict[str, list[str]]:
        """Tells inside from outside, and this host's own openings from those that are translated to an inside host."""
        inside = self._selection.forward
        undecided = self._marks.match(self._marks.of_forwarded(ConnectionClass.UNDECIDED))
        opened = f"-j CONNMARK --set-xmark {undecided}"
        held = _target(self._queues, self._queues.undecided)
        return {
            _FORWARD_NOT_HANDLED_CHAIN: [*self._about.not_handled(forwarded=True)],
            _FORWARD_HANDLED_CHAIN: [*self._about.saved(forwarded=True), self._about.clear],
            _FORWARD_CHAIN: [
                *self._about.diverted(_FORWARD_NOT_HANDLED_CHAIN, _FORWARD_HANDLED_CHAIN),
                f"{NOT_OPENING} -m connmark --mark {self._about.of_class(ConnectionClass.PLAIN)} -j RETURN",
                "-m conntrack --ctstate UNTRACKED -j RETURN",
                *(f"-i {name} -g {_FROM_INSIDE_CHAIN}" for name in inside),
                *(f"-o {name} -g {_forwarded(Direction.IN).chain}" for name in inside),
                *self._neither(),
            ],
            _FROM_INSIDE_CHAIN: [
                *(f"-o {name} -g {_FORWARD_CHAIN}_NEITHER" for name in inside),
                # Tells the daemon the direction; a verdict has another mark.
                f"-j MARK --set-xmark {self._marks.match(self._marks.outward)}",
                f"-g {_forwarded(Direction.OUT).chain}",
            ],
            f"{_FORWARD_CHAIN}_NEITHER": [*self._neither()],
            _FORWARD_QUEUE_CHAIN: [opened, f"{held} --queue-bypass"],
            **({_FORWARD_HOLD_CHAIN: [opened, held]} if self._requires else {}),
            # Only here it is known that an opening was not translated to an inside host's address. Those of an
            # encrypted connection of this host's were diverted before.
            _ARRIVED_CHAIN: [
                f"-m conntrack --ctstate DNAT -g {_PLAIN_CHAIN}",
                f"-m connmark --mark {self._about.of_class(ConnectionClass.ENCRYPTED)} -j RETURN",
                f"-m connmark --mark {self._about.of_class(ConnectionClass.STREAM)} -j RETURN",
                f"-g {_local(Direction.IN).chain}_CHOICE",
            ],
        }

    def _neither(self) -> Iterator[str]:
        """Between two inside hosts, or two outside ones. The way of a connection can change when it is encrypted."""
        yield f"-m connmark --mark {self._marks.forwarded_encrypted} -j DROP"
        yield f"-g {_PLAIN_CHAIN}"

    def direction_chains(self, path: _Path) -> dict[str, list[str]]:
        """The classes of a direction in order, then the selection, one chain for each of its criteria."""
        criteria = list(self._criteria(path.direction))
        required = [*self._required(path)]
        last = f"{path.chain}_REQUIRE" if required else path.queue_chain
        names = [path.chain, *(f"{path.chain}_{name}" for name, _ in criteria), last]
        excluded = f"{path.chain}_EXCLUDED"
        onward = f"-g {names[1]}"
        chains = {
            names[0]: [*(self._forwarded_classes() if path.is_forwarded else self._classes(path.direction))],
            excluded: [*self._exclusions(), onward],
        }
        if required:
            chains[last] = [*required, f"-g {path.queue_chain}"]
        choice = [*self._invalid(path, last), *self._suspects(excluded), onward]
        if path == _local(Direction.IN) and self._selection.forward:
            # SYN segments come there from INPUT.
            chains[names[0]] += [f"{OPENING} -j RETURN", f"-g {path.chain}_CHOICE"]
            chains[f"{path.chain}_CHOICE"] = choice
        else:
            chains[names[0]] += choice
        for position, (_, matches) in enumerate(criteria, start=1):
            chains[names[position]] = [
                *(f"{match} -g {names[position + 1]}" for match in matches),
                f"-g {_PLAIN_CHAIN}",
            ]
        return chains

    def _classes(self, direction: Direction) -> Iterator[str]:
        yield from self._about.diverted(_NOT_HANDLED_CHAIN, _HANDLED_CHAIN)
        yield f"{NOT_OPENING} -m connmark --mark {self._about.of_class(ConnectionClass.PLAIN)} -j RETURN"
        for connection_class, queue in self._encrypted_queues():
            yield f"-m connmark --mark {self._about.of_class(connection_class)} {_target(self._queues, queue)}"
        if self._selection.leaves_loopback:
            # What is injected towards the local kernel takes this interface as well, and has returned.
            yield f"{'-o' if direction is Direction.OUT else '-i'} {LOOPBACK} -g {_PLAIN_CHAIN}"
        if direction is Direction.IN:
            yield from self._others_connections()
            # What is only forwarded here is encrypted, or not, by the hosts at its ends.
            yield f"{NOT_LOCAL} -j RETURN"
        # A connection that has no mark cannot be kept from leaving in clear when the daemon dies.
        yield "-m conntrack --ctstate UNTRACKED -j RETURN"

    def _encrypted_queues(self) -> tuple[tuple[ConnectionClass, int], ...]:
        return (ConnectionClass.ENCRYPTED, self._queues.encrypted), (ConnectionClass.STREAM, self._queues.stream)

    def _forwarded_classes(self) -> Iterator[str]:
        for connection_class, queue in self._encrypted_queues():
            mark = self._marks.match(self._marks.of_forwarded(connection_class))
            yield f"-m connmark --mark {mark} {_target(self._queues, queue)}"

    def _others_connections(self) -> Iterator[str]:
        if self._selection.forward:
            undecided = self._marks.match(self._marks.of_forwarded(ConnectionClass.UNDECIDED))
            yield f"-m connmark --mark {undecided} -j RETURN"
            yield f"-m connmark --mark {self._marks.forwarded_encrypted} -j RETURN"
        else:
            # An earlier daemon encrypted it, with --forward: nothing of it may go on in clear.
            yield f"-m connmark --mark {self._marks.forwarded_encrypted} -j DROP"

    @property
    def _requires(self) -> bool:
        return bool(self._selection.require or self._selection.require_identity)

    def _required(self, path: _Path) -> Iterator[str]:
        """Holds back connections that must be encrypted, where others go on without a daemon."""
        hold = f"-g {path.hold_chain}"
        for network in self._of_version(self._selection.require):
            hosts = f"{_remote(path.direction)} {network}"
            if path.direction is Direction.OUT:
                # Also where a stray segment of the other direction made the tracked connection.
                yield f"{OPENING} {hosts} {hold}"
                yield f"-m conntrack --ctdir ORIGINAL {hosts} {hold}"
            else:
                yield f"-m conntrack --ctdir REPLY {hosts} {hold}"
        for network in self._of_version(self._selection.require_identity):
            yield f"{_remote(path.direction)} {network} {hold}"

    def _of_version(self, networks: tuple[Network, ...]) -> list[Network]:
        return [each for each in networks if each.version == self._version]

    def _invalid(self, path: _Path, last: str) -> Iterator[str]:
        if path.direction is Direction.OUT:
            # Its connection is unknown and may be an encrypted one: no bypass.
            invalid = f"{NOT_OPENING} -m conntrack --ctstate INVALID"
            yield f"{invalid} {_target(self._queues, self._queues.undecided)}"
        else:
            # Of an invalid segment the connection's port is unknown.
            yield f"-m conntrack --ctstate INVALID -g {last}"

    def _suspects(self, excluded: str) -> Iterator[str]:
        """Spares the other segments two rules for each port: every rule costs time."""
        ports = self._selection.excluded
        for start in range(0, len(ports), _MULTIPORT_LIMIT):
            some = ",".join(map(str, ports[start : start + _MULTIPORT_LIMIT]))
            yield f"-p tcp -m multiport --ports {some} -g {excluded}"

    def _exclusions(self) -> Iterator[str]:
        for port in self._selection.excluded:
            yield f"{_tracked_port(port)} -g {_PLAIN_CHAIN}"
            yield f"{_opened_port(port)} -g {_PLAIN_CHAIN}"

    def _criteria(self, direction: Direction) -> Iterator[tuple[str, list[str]]]:
        if self._selection.ports:
            yield "PORT", [match for port in self._selection.ports for match in _any_port(port)]
        if self._selection.interfaces:
            option = "-o" if direction is Direction.OUT else "-i"
            yield "INTERFACE", [f"{option} {name}" for name in self._selection.interfaces]
        if self._selection.addresses:
            networks = self._of_version(self._selection.addresses)
            yield "ADDRESS", [f"{_remote(direction)} {network}" for network in networks]


def _chain(direction: Direction) -> str:
    return CHAIN_PREFIX + direction.name


def _remote(direction: Direction) -> str:
    return "-d" if direction is Direction.OUT else "-s"


def _tracked_port(port: int) -> str:
    # The port that the opener connected to, for segments of both directions and for both roles of this host.
    return f"-p tcp -m conntrack --ctorigdstport {port}"


def _opened_port(port: int) -> str:
    # The same where a stray segment of the other direction made the tracked connection.
    return f"{OPENING} --dport {port}"


def _any_port(port: int) -> tuple[str, str, str]:
    # The last is for what follows on such a SYN. Other connections do not come here, since their SYN made them plain.
    return _tracked_port(port), _opened_port(port), f"{NOT_OPENING} -m conntrack --ctorigsrcport {port}"


def _target(queues: QueueNumbers, first: int) -> str:
    """What diverts to the queues that start with this one."""
    if queues.workers == 1:
        return f"-j NFQUEUE --queue-num {first}"
    return f"-j NFQUEUE --queue-balance {first}:{first + queues.workers - 1}"
