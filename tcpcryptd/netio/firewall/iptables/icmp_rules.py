"""Rules that divert ICMP errors about encrypted connections (tcpcryptd.core.icmp_errors).

Connection tracking relates an error to the connection that it quotes a segment of, so it has that connection's mark.
Its own addresses say nothing of which worker has the connection: all go to the first worker, and on from there.

What leaves may quote plaintext: it waits for the daemon as segments do. What comes in passes without one, since it only
has numbers that the kernel does not know.
"""

from collections.abc import Iterator

from tcpcryptd.core.verdict import ConnectionClass, Direction
from tcpcryptd.netio.firewall.selection import LOOPBACK
from tcpcryptd.netio.marks import MarkScheme

_PROTOCOLS = {4: "icmp", 6: "ipv6-icmp"}
_ENCRYPTED = [each for each in ConnectionClass if each.is_encrypted]


class IcmpRules:
    """Chains and jumps for one IP version."""

    def __init__(
        self, prefix: str, inside: tuple[str, ...], queues: dict[Direction, int], marks: MarkScheme, version: int
    ) -> None:
        """Say it for a host.

        Args:
            prefix: Of our chains' names.
            inside: The interfaces of hosts behind this one.
            queues: The first worker's, for errors that go out or come in.
            marks: Where the marks are.
            version: 4 or 6.
        """
        self._out, self._in = f"{prefix}ERROR_OUT", f"{prefix}ERROR_IN"
        self._forward, self._passing = f"{prefix}ERROR_FWD", f"{prefix}ERROR_PASSES"
        self._inside = inside
        self._queues = queues
        self._marks = marks
        self._protocol = _PROTOCOLS[version]

    def jumps(self) -> list[str]:
        """As RuleSet.jumps."""
        error = f"-p {self._protocol} -m conntrack --ctstate RELATED"
        # Between two ends of this host, the error is handled on its way in alone.
        jumps = [f"OUTPUT ! -o {LOOPBACK} {error} -j {self._out}", f"PREROUTING {error} -j {self._in}"]
        return [*jumps, f"FORWARD {error} -j {self._forward}"] if self._inside else jumps

    def passes(self) -> dict[str, str]:
        """See beside_vrfs."""
        return {self._out: "-o", self._in: "-i"}

    def chains(self) -> dict[str, list[str]]:
        """As RuleSet.chains."""
        chains = {
            self._out: [
                f"-m mark --mark {self._marks.match(self._marks.of_injection(Direction.IN))} -j RETURN",
                *self._diverted(Direction.OUT, self._classes(forwarded=False)),
                *(self._diverted(Direction.OUT, self._classes(forwarded=True)) if self._inside else ()),
            ],
            self._in: [*self._diverted(Direction.IN, self._classes(forwarded=False))],
            self._passing: [self._clear],
        }
        if self._inside:
            inwards = [f"-o {name} {each}" for name in self._inside for each in self._classes(forwarded=True)]
            chains[self._forward] = [
                *self._passes(Direction.OUT, forwarded=True),
                *self._passes(Direction.IN, forwarded=True),
                self._clear,
                *(f"-i {name} -j MARK --set-xmark {self._marks.match(self._marks.outward)}" for name in self._inside),
                *self._queued(Direction.IN, inwards),
                *self._queued(Direction.OUT, self._classes(forwarded=True)),
            ]
        return chains

    @property
    def _clear(self) -> str:
        return f"-j MARK --set-xmark {self._marks.match(0)}"

    def _classes(self, forwarded: bool) -> list[str]:
        of_class = self._marks.of_forwarded if forwarded else self._marks.of_class
        return [f"-m connmark --mark {self._marks.match(of_class(each))}" for each in _ENCRYPTED]

    def _diverted(self, direction: Direction, matches: list[str]) -> Iterator[str]:
        yield from self._passes(direction, forwarded=False)
        # Copied from the connection by a rule of others: the daemon would take the packet for one that it has handled.
        yield self._clear
        yield from self._queued(direction, matches)

    def _passes(self, direction: Direction, forwarded: bool) -> Iterator[str]:
        """What comes again with its verdict; its mark is that of its queue's class."""
        queue_class = ConnectionClass.ENCRYPTED if direction is Direction.OUT else ConnectionClass.UNDECIDED
        yield f"-m mark --mark {self._marks.match(self._marks.of_verdict(queue_class, forwarded))} -g {self._passing}"

    def _queued(self, direction: Direction, matches: list[str]) -> Iterator[str]:
        bypass = " --queue-bypass" if direction is Direction.IN else ""
        for match in matches:
            yield f"{match} -j NFQUEUE --queue-num {self._queues[direction]}{bypass}"
