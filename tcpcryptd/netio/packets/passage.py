"""How a packet that the daemon lets pass goes on. That depends on the rules that diverted it, which its mark tells.

Rules of iptables are in a table with rules of others, which NF_ACCEPT would skip. So the packet comes to the table once
more (NF_REPEAT), with the mark of its verdict, by which rules of ours keep the class of its connection (`marks`).

So it is in FORWARD with rules of nft. In their other hooks NF_ACCEPT is enough: these are base chains of their own, and
it goes on with the next one, whoever has it. The class goes to connection tracking with the verdict, and the packet's
mark stays, since in OUTPUT the kernel would look for the route of a packet with another mark than it was queued with,
and IPv4 does that without the user. A chain of ours right behind takes the mark away. By it our rules also know a
packet that comes to them twice: the kernel remembers a chain by its number, which is another one when somebody has put
one before ours meanwhile.

In FORWARD the route is not looked for again, and addresses may be translated: the kernel would adjust the sequence
numbers of such a connection when a verdict both tells connection tracking something and changes the packet's length.
"""

from typing import Final

from tcpcryptd.core.verdict import ConnectionClass, Direction, Gathered
from tcpcryptd.netio.kernel.nfqueue import DivertedPacket
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets.verdicts import NF_ACCEPT, NF_REPEAT, VerdictSender, for_tracking

HOOK_FORWARD: Final = 2
HOOK_LOCAL_OUT: Final = 3
"""linux/netfilter.h."""


class Passage:
    """Of the packets of one queue."""

    def __init__(self, verdicts: VerdictSender, marks: MarkScheme, diverted_as: ConnectionClass) -> None:
        self._verdicts = verdicts
        self._diverted_as = diverted_as
        self._mask, self._foreign = marks.mask, marks.foreign
        self._outward = marks.outward
        self._diverted = marks.diverted
        self._mark_of = marks.of_verdicts(diverted_as, forwarded=False)
        self._forwarded_mark_of = marks.of_verdicts(diverted_as, forwarded=True)
        self._told = {each: for_tracking(marks.of_class(each), marks.mask) for each in ConnectionClass}

    def direction(self, hook: int, mark: int) -> Direction | None:
        """Which way a packet goes; None: it was handled, and rules that do not look at marks brought it back."""
        marked = mark & self._mask
        if hook == HOOK_FORWARD:
            return Direction.OUT if marked == self._outward else Direction.IN if marked == 0 else None
        if marked not in (0, self._diverted):
            return None
        return Direction.OUT if hook == HOOK_LOCAL_OUT else Direction.IN

    def let(
        self,
        packet: DivertedPacket,
        connection_class: ConnectionClass,
        mark: int,
        replacement: bytes | Gathered | None = None,
    ) -> None:
        """Lets it pass, or what stands in its place. UNDECIDED: its connection stays what it is.

        `mark`: the bits of others, as they are from now on.
        """
        forwarded = packet.hook == HOOK_FORWARD
        mark &= self._foreign
        if forwarded or packet.mark & self._mask == 0:
            mark |= (self._forwarded_mark_of if forwarded else self._mark_of)[connection_class]
            self._verdicts.add(packet.identifier, NF_REPEAT, replacement, mark)
            return
        told = b""
        if connection_class not in (ConnectionClass.UNDECIDED, self._diverted_as):
            told = self._told[connection_class]
        if mark == packet.mark & self._foreign:
            self._verdicts.add(packet.identifier, NF_ACCEPT, replacement, None, told)
        else:
            # To be routed by another mark: as what is injected, it comes to our chain again, which takes ours off.
            self._verdicts.add(packet.identifier, NF_REPEAT, replacement, mark | self._diverted, told)
