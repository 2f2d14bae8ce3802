"""Rules about packets that carry a mark of ours: with a verdict, injected, or marked by somebody else (`marks`)."""

from collections.abc import Iterator

from tcpcryptd.core.verdict import ConnectionClass, Direction
from tcpcryptd.netio.marks import MarkScheme

OPENING = "-p tcp --syn"
NOT_OPENING = "-p tcp ! --syn"


class MarkRules:
    """Parts of iptables rules about marks; each method gives the rules of a chain, or a part of one."""

    def __init__(self, marks: MarkScheme) -> None:
        self._marks = marks
        self.clear = f"-j MARK --set-xmark {marks.match(0)}"
        self.marked = f"-m mark ! --mark {marks.match(0)}"
        """Matches what carries a mark of ours."""

    def of_class(self, connection_class: ConnectionClass, forwarded: bool = False) -> str:
        """The connection mark of a class, with the mask."""
        marks = self._marks
        return marks.match((marks.of_forwarded if forwarded else marks.of_class)(connection_class))

    def diverted(self, not_handled: str, handled: str) -> Iterator[str]:
        """The beginning of a chain that diverts: what carries a mark leaves it, unless it is to be diverted as well."""
        yield f"{self.marked} -j {not_handled}"
        yield f"{self.marked} -g {handled}"

    def not_handled(self, forwarded: bool = False) -> Iterator[str]:
        """Clears the mark of a packet that only has it because somebody copied the connection mark.

        With the mark of a verdict for the plain class this is so where the connection is plain already, and without
        consequence except for a SYN.
        """
        of_class = self._marks.of_forwarded if forwarded else self._marks.of_class
        of_verdict = {each: self._marks.of_verdict(each, forwarded) for each in ConnectionClass}
        for each in ConnectionClass:
            mark = of_class(each)
            if mark == 0:
                continue
            match = f"-m mark --mark {self._marks.match(mark)}"
            if mark in of_verdict.values():
                match += f" -m connmark --mark {self._marks.match(mark)}"
            if mark == of_verdict[ConnectionClass.PLAIN]:
                match = f"{OPENING} {match}"
            yield f"{match} {self.clear}"

    def saved(self, forwarded: bool = False) -> Iterator[str]:
        """Keeps the class that a verdict names."""
        for each in (ConnectionClass.STREAM, ConnectionClass.ENCRYPTED, ConnectionClass.PLAIN):
            verdict = self._marks.match(self._marks.of_verdict(each, forwarded))
            yield f"-m mark --mark {verdict} -j CONNMARK --set-xmark {self.of_class(each, forwarded)}"

    def handled(self) -> Iterator[str]:
        """What may go on, in OUTPUT and PREROUTING."""
        yield from self.saved()
        # On its way to the loopback interface. It is what comes in that rules of others are about.
        yield f"-o lo {self._injected(Direction.IN)} -j ACCEPT"
        yield f"{self._injected(Direction.IN)} -j RETURN"
        # For what is injected towards the wire the kernel looks for a route again (see `raw_socket`), and loopback
        # diverts it on the way in.
        yield self.clear

    def last(self) -> Iterator[str]:
        """Behind all rules of others, before the route is looked up."""
        yield f"{self._injected(Direction.IN)} -j RETURN"
        yield self.clear

    @property
    def marked_by_others(self) -> str:
        """Matches a packet with a mark of others alone."""
        return f"-m mark --mark {self._marks.match(0)} -m mark ! --mark 0x0/{self._marks.foreign:#x}"

    def leaving(self) -> Iterator[str]:
        """In POSTROUTING. Packets injected towards the local kernel keep their mark: they still have to come in."""
        yield f"{self._injected(Direction.IN)} -j RETURN"
        yield self.clear

    def _injected(self, direction: Direction) -> str:
        return f"-m mark --mark {self._marks.match(self._marks.of_injection(direction))}"
