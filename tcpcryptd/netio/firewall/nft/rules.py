"""The rules that divert TCP to the daemon, as nft has them: the same as `iptables.rules`, which says why each is there.

All are in a table of our own, in base chains whose priorities nobody else is expected to have: right before the mangle
tables of iptables, and right behind. What a rule of ours accepts goes on with the next base chain, whoever has it; so
does what the daemon accepts, and what was to be queued (`bypass`) while there is none.

A packet has a mark of ours while it is with the daemon, which the chain behind takes away. Chains of the type `route`
look for the route again when they have changed a mark, those of the type `filter` do not: in OUTPUT that mark comes and
goes without a new route, and the mark of what is injected does not (`raw_socket`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tcpcryptd.core.verdict import ConnectionClass, Direction
from tcpcryptd.netio.firewall.nft.statements import (
    NOT_OPENING,
    OPENING,
    Marks,
    addresses,
    braced,
    names,
    other_addresses,
    queue,
)
from tcpcryptd.netio.firewall.selection import LOOPBACK, Selection
from tcpcryptd.netio.kernel.raw_socket import INWARD_PRIORITY
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers

FAMILY, TABLE = "inet", "tcpcryptd"

_TCP = "meta l4proto tcp"
_ERROR = "meta l4proto { icmp, ipv6-icmp } ct state related"
_DIVERTING = -152
_BEHIND = -151
_BEHIND_OTHERS = -149
"""Priorities: mangle is -150."""
_RAW = -300

Chains = dict[str, list[str]]


def build(selection: Selection, queues: QueueNumbers, marks: MarkScheme, vrfs: tuple[str, ...] = ()) -> Chains:
    """The rules of each chain; `vrfs`: names of VRF devices."""
    return _Builder(selection, queues, marks, vrfs).chains()


def transaction(chains: Chains) -> str:
    """What puts them in the place of those that are there, for `nft -f`."""
    name = f"{FAMILY} {TABLE}"
    # It is there when it is deleted, whether it was or not.
    lines = [f"table {name}", f"delete table {name}", f"table {name} {{"]
    for chain, rules in chains.items():
        lines += [f"\tchain {chain} {{", *(f"\t\t{rule}" for rule in rules), "\t}"]
    return "\n".join([*lines, "}", ""])


def _base(kind: str, hook: str, priority: int) -> str:
    return f"type {kind} hook {hook} priority {priority}; policy accept;"


@dataclass(frozen=True)
class _Path:
    """One direction of this host's own connections, or of those of the hosts behind it."""

    direction: Direction
    is_forwarded: bool

    @property
    def chain(self) -> str:
        return ("forwarded_" if self.is_forwarded else "") + self.direction.name.lower()

    @property
    def choice(self) -> str:
        """Where it is decided whether a connection is selected."""
        return f"{self.chain}_choice"

    @property
    def undecided(self) -> str:
        """Where those that are selected go."""
        return f"{self.chain}_undecided"


_OUT, _IN = _Path(Direction.OUT, False), _Path(Direction.IN, False)
_OUTWARDS, _INWARDS = _Path(Direction.OUT, True), _Path(Direction.IN, True)


class _Builder:
    def __init__(self, selection: Selection, queues: QueueNumbers, marks: MarkScheme, vrfs: tuple[str, ...]) -> None:
        self._selection = selection
        self._inside = names(selection.forward)
        self._queues = queues
        self._scheme = marks
        self._marks = Marks(marks)
        self._vrfs = names(vrfs)
        self._injected_in = self._marks.is_("meta", marks.of_injection(Direction.IN))
        self._injected_out = self._marks.is_("meta", marks.of_injection(Direction.OUT))

    def chains(self) -> Chains:
        """The base chains refer to others, which have to be there before them."""
        local = [*self._path_chains(_OUT), *self._path_chains(_IN)]
        chains = self._shared_chains() | dict(local) | self._error_chains()
        if self._selection.forward:
            chains |= self._forward_chains()
        return chains | self._base_chains()

    def _base_chains(self) -> Chains:
        marks, clear = self._marks, self._marks.clear
        marked = f"{_TCP} {marks.marked}"
        chains = {
            "output": [
                _base("route", "output", _DIVERTING),
                *self._skipped("oifname"),
                f"{_TCP} goto {_OUT.chain}",
                # Between two ends of this host, the error is handled on its way in alone.
                f'oifname != "{LOOPBACK}" {_ERROR} goto error_out',
            ],
            "output_behind": [
                _base("filter", "output", _BEHIND),
                *self._skipped("oifname"),
                f"{marks.is_('meta', self._scheme.diverted)} {clear}",
            ],
            "output_behind_others": [
                _base("route", "output", _BEHIND_OTHERS),
                *self._skipped("oifname"),
                # Others may have given it another mark.
                f'oifname "{LOOPBACK}" meta priority {INWARD_PRIORITY >> 16:x}:{INWARD_PRIORITY & 0xFFFF:x} '
                f"{marks.set('meta', self._scheme.of_injection(Direction.IN))} accept",
                f"{marked} jump copied",
            ],
            "prerouting": [
                _base("filter", "prerouting", _DIVERTING),
                *self._skipped("iifname"),
                f"{_TCP} goto {_IN.chain}",
                f"{_ERROR} goto error_in",
            ],
            "prerouting_behind": [
                _base("filter", "prerouting", _BEHIND),
                f"{marks.is_('meta', self._scheme.diverted)} {clear}",
            ],
            "prerouting_behind_others": [_base("filter", "prerouting", _BEHIND_OTHERS), f"{marked} jump copied"],
            "input_behind": [_base("filter", "input", _BEHIND), f"{marked} {clear}"],
            "postrouting": [
                _base("filter", "postrouting", _BEHIND),
                *self._skipped("oifname"),
                f"{_TCP} tcp flags & (syn | rst) == syn {marks.marked_by_others} goto seen",
                f"{marked} jump copied",
            ],
        }
        if self._selection.forward:
            chains |= {
                "forward": [
                    _base("filter", "forward", _DIVERTING),
                    f"{_TCP} goto forwarded",
                    f"{_ERROR} goto error_forwarded",
                ],
                "forward_behind": [_base("filter", "forward", _BEHIND), f"{marks.marked} {clear}"],
                "input": [
                    _base("filter", "input", _DIVERTING),
                    f"{OPENING} {marks.is_('meta', 0)} goto arrived",
                ],
                # What is injected towards a host behind this one is no connection that tracking knows.
                "output_raw": [
                    _base("filter", "output", _RAW),
                    f'oifname != "{LOOPBACK}" {_TCP} {self._injected_in} notrack',
                ],
            }
        else:
            # Where addresses are translated, its next packets come in as packets for this host.
            forward = f"{_TCP} {marks.is_('ct', 0)} goto plain"
            chains["forward"] = [_base("filter", "forward", _DIVERTING), forward]
        return chains

    def _skipped(self, interface: str) -> list[str]:
        """Packets of a VRF's interface come for that interface as well (`iptables.vrf_rules`)."""
        return [f"{interface} {braced(self._vrfs)} accept"] if self._vrfs else []

    def _shared_chains(self) -> Chains:
        marks = self._marks
        undecided = queue(self._queues, self._queues.undecided, bypass=True)
        return {
            "plain": [marks.set("ct", self._scheme.of_class(ConnectionClass.PLAIN))],
            # What carries a mark of ours, before it is diverted.
            "marked": [
                # Also what comes here twice (`passage`).
                f"{self._injected_out} {marks.clear} accept",
                f"{self._injected_in} accept",
                # Copied from the connection.
                marks.clear,
            ],
            # The same, before it goes on: what is injected towards the local kernel comes in yet.
            "copied": [f"{self._injected_in} accept", marks.clear],
            # Not what is plain, nor what is forwarded.
            "seen": [
                f"{marks.is_('ct', self._scheme.of_class(each))} {undecided}"
                for each in ConnectionClass
                if each is not ConnectionClass.PLAIN
            ],
        }

    def _path_chains(self, path: _Path) -> Iterator[tuple[str, list[str]]]:
        """The classes of a direction in order, and the selection."""
        marks, scheme = self._marks, self._scheme
        plain = marks.is_("ct", scheme.of_class(ConnectionClass.PLAIN))
        bypass = queue(self._queues, self._queues.undecided, bypass=True)
        undecided = (
            # A SYN: the connection that was plain is over, or never was one.
            [f"{plain} {marks.set('ct', 0)}"]
            if not path.is_forwarded
            else [marks.set("ct", scheme.of_forwarded(ConnectionClass.UNDECIDED))]
        )
        yield path.undecided, [*undecided, *self._held(path), f"{self._mark(path)} {bypass}"]
        yield path.choice, [*self._choice(path)]
        if path.is_forwarded:
            yield path.chain, [*self._encrypted(path), f"goto {path.choice}"]
            return
        rules = [
            f"{marks.marked} jump marked",
            f"{NOT_OPENING} {plain} return",
            *self._encrypted(path),
        ]
        if self._selection.leaves_loopback:
            rules.append(f'{_interface(path.direction)} "{LOOPBACK}" goto plain')
        if path is _IN:
            rules += self._others_connections()
        # A connection that has no mark cannot be kept from leaving in clear when the daemon dies.
        rules.append("ct state untracked return")
        if path is _IN and self._selection.forward:
            # They come there from INPUT.
            rules.append(f"{OPENING} return")
        yield path.chain, [*rules, f"goto {path.choice}"]

    def _held(self, path: _Path) -> Iterator[str]:
        """Connections that must be encrypted, where others go on without a daemon."""
        hold = f"{self._mark(path)} {queue(self._queues, self._queues.undecided)}"
        for hosts in addresses(path.direction, self._selection.require):
            if path.direction is Direction.OUT:
                # Also where a stray segment of the other direction made the tracked connection.
                yield f"{OPENING} {hosts} {hold}"
                yield f"ct direction original {hosts} {hold}"
            else:
                yield f"ct direction reply {hosts} {hold}"
        for hosts in addresses(path.direction, self._selection.require_identity):
            yield f"{hosts} {hold}"

    def _mark(self, path: _Path) -> str:
        """What tells our rules that the packet was diverted; of forwarded ones, the daemon that it goes outwards."""
        if not path.is_forwarded:
            return self._marks.set("meta", self._scheme.diverted)
        return self._marks.set("meta", self._scheme.outward if path is _OUTWARDS else 0)

    def _encrypted(self, path: _Path) -> Iterator[str]:
        of_class = self._scheme.of_forwarded if path.is_forwarded else self._scheme.of_class
        for each, first in (
            (ConnectionClass.ENCRYPTED, self._queues.encrypted),
            (ConnectionClass.STREAM, self._queues.stream),
        ):
            yield f"{self._marks.is_('ct', of_class(each))} {self._mark(path)} {queue(self._queues, first)}"

    def _others_connections(self) -> Iterator[str]:
        encrypted = self._marks.has("ct", self._scheme.of_forwarded(ConnectionClass.ENCRYPTED))
        if self._selection.forward:
            undecided = self._scheme.of_forwarded(ConnectionClass.UNDECIDED)
            yield f"{self._marks.is_('ct', undecided)} return"
            yield f"{encrypted} return"
        else:
            # An earlier daemon encrypted it, with --forward: nothing of it may go on in clear.
            yield f"{encrypted} drop"
        # What is only forwarded here is encrypted, or not, by the hosts at its ends.
        yield f"fib daddr {'. iif ' if self._vrfs else ''}type != local return"

    def _choice(self, path: _Path) -> Iterator[str]:
        if path.direction is Direction.OUT:
            # Its connection is unknown and may be an encrypted one: no bypass.
            divert = f"{self._mark(path)} {queue(self._queues, self._queues.undecided)}"
            yield f"{NOT_OPENING} ct state invalid {divert}"
        else:
            # Of an invalid segment the connection's port is unknown.
            yield f"ct state invalid goto {path.undecided}"
        if self._selection.excluded:
            for match in _ports(self._selection.excluded)[:2]:
                yield f"{match} goto plain"
        if self._selection.interfaces:
            yield f"{_interface(path.direction)} != {braced(names(self._selection.interfaces))} goto plain"
        if self._selection.addresses:
            yield from other_addresses(path.direction, self._selection.addresses)
        if self._selection.ports:
            for match in _ports(self._selection.ports):
                yield f"{match} goto {path.undecided}"
            yield "goto plain"
        else:
            yield f"goto {path.undecided}"

    def _forward_chains(self) -> Chains:
        """Tells inside from outside, and this host's own openings from those that are translated to an inside host."""
        marks, scheme = self._marks, self._scheme
        encrypted = marks.has("ct", scheme.of_forwarded(ConnectionClass.ENCRYPTED))
        inside = braced(self._inside)
        return {
            # Between two inside hosts, or two outside ones. The way of a connection can change when it is encrypted.
            "neither": [f"{encrypted} drop", "goto plain"],
            **dict(self._path_chains(_OUTWARDS)),
            **dict(self._path_chains(_INWARDS)),
            "forwarded_not_handled": [*self._not_handled()],
            "forwarded_handled": [*self._saved(), f"{marks.clear} accept"],
            "forwarded": [
                f"{marks.marked} jump forwarded_not_handled",
                f"{marks.marked} goto forwarded_handled",
                f"{NOT_OPENING} {marks.is_('ct', scheme.of_class(ConnectionClass.PLAIN))} return",
                "ct state untracked return",
                f"iifname {inside} oifname {inside} goto neither",
                f"iifname {inside} goto {_OUTWARDS.chain}",
                f"oifname {inside} goto {_INWARDS.chain}",
                "goto neither",
            ],
            # Only here it is known that an opening was not translated to an inside host's address. Those of an
            # encrypted connection of this host's were diverted before.
            "arrived": [
                "ct status dnat goto plain",
                f"{marks.is_('ct', scheme.of_class(ConnectionClass.ENCRYPTED))} return",
                f"{marks.is_('ct', scheme.of_class(ConnectionClass.STREAM))} return",
                f"goto {_IN.choice}",
            ],
            "error_forwarded": [
                # With the verdict of its queue's class.
                *(
                    f"{marks.is_('meta', scheme.of_verdict(each, forwarded=True))} {marks.clear} accept"
                    for each in (ConnectionClass.ENCRYPTED, ConnectionClass.UNDECIDED)
                ),
                f"{marks.marked} {marks.clear}",
                f"iifname {inside} {self._mark(_OUTWARDS)}",
                f"oifname {inside} {encrypted} {self._first(Direction.IN)}",
                f"{encrypted} {self._first(Direction.OUT)}",
            ],
        }

    def _not_handled(self) -> Iterator[str]:
        """As `iptables.mark_rules` has it, for what is forwarded."""
        marks, scheme = self._marks, self._scheme
        of_verdict = {each: scheme.of_verdict(each, forwarded=True) for each in ConnectionClass}
        for each in ConnectionClass:
            mark = scheme.of_forwarded(each)
            match = marks.is_("meta", mark)
            if mark in of_verdict.values():
                match = f"{marks.is_('ct', mark)} {match}"
            if mark == of_verdict[ConnectionClass.PLAIN]:
                match = f"{OPENING} {match}"
            yield f"{match} {marks.clear}"

    def _saved(self) -> Iterator[str]:
        """Keeps the class that a verdict names."""
        for each in (ConnectionClass.STREAM, ConnectionClass.ENCRYPTED, ConnectionClass.PLAIN):
            verdict = self._marks.is_("meta", self._scheme.of_verdict(each, forwarded=True))
            yield f"{verdict} {self._marks.set('ct', self._scheme.of_forwarded(each))}"

    def _error_chains(self) -> Chains:
        """ICMP errors about encrypted connections (`iptables.icmp_rules`)."""
        own = [self._scheme.of_class(each) for each in ConnectionClass if each.is_encrypted]
        chains = {}
        for path in (_OUT, _IN):
            divert = f"{self._mark(path)} {self._first(path.direction)}"
            rules = [f"{self._marks.is_('ct', mark)} {divert}" for mark in own]
            if path is _OUT and self._selection.forward:
                forwarded = self._scheme.of_forwarded(ConnectionClass.ENCRYPTED)
                rules.append(f"{self._marks.has('ct', forwarded)} {divert}")
            chains[f"error_{path.chain}"] = [f"{self._marks.marked} jump marked", *rules]
        return chains

    def _first(self, direction: Direction) -> str:
        """To the first worker's queue: an error's addresses do not say whose connection it is about.

        What comes in passes without a daemon.
        """
        inwards = direction is Direction.IN
        first = self._queues.undecided if inwards else self._queues.encrypted
        return queue(self._queues.of_worker(0), first, bypass=inwards)


def _interface(direction: Direction) -> str:
    return "oifname" if direction is Direction.OUT else "iifname"


def _ports(ports: Sequence[int]) -> list[str]:
    """What matches connections whose opener connected to one of them: see `iptables.rules`."""
    some = braced(map(str, ports))
    return [
        f"{_TCP} ct original proto-dst {some}",
        # Where a stray segment of the other direction made the tracked connection, and what follows on such a SYN.
        f"{OPENING} tcp dport {some}",
        f"{NOT_OPENING} ct original proto-src {some}",
    ]
