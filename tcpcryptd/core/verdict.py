"""The engine's answer for a packet."""

import enum
from typing import Final


class Direction(enum.IntEnum):
    """The direction in which a packet crosses this host's border."""

    OUT = 0
    """From the local kernel to the wire."""
    IN = 1
    """From the wire to the local kernel."""

    @property
    def opposite(self) -> "Direction":
        """The other direction."""
        return Direction.IN if self is Direction.OUT else Direction.OUT


class Action(enum.IntEnum):
    """What becomes of the packet."""

    ACCEPT = 0
    MODIFY = 1
    DROP = 2
    SPLIT = 3
    """Drop it, and send the packets that it was cut into: they stand one after the other, whole IP packets."""
    ELSEWHERE = 4
    """An ICMP error about a connection that this engine does not know: another worker may."""


class ConnectionClass(enum.IntEnum):
    """How the firewall treats the connection's next packets (docs/architecture.md#diversion)."""

    UNDECIDED = 0
    """Divert; let them pass when no daemon runs."""
    PLAIN = 1
    """Do not divert."""
    ENCRYPTED = 2
    """Divert; let none pass when no daemon runs."""
    STREAM = 5
    """The same, and divert packets as large as the kernel handles them, before it cuts them into segments."""

    @property
    def is_encrypted(self) -> bool:
        """Whether nothing may pass without the daemon."""
        return self in (ConnectionClass.ENCRYPTED, ConnectionClass.STREAM)


class Gathered:
    """A large packet in two pieces: sendmsg(2) gathers them, so that the payload is not copied once more."""

    def __init__(self, head: bytes, body: bytes | bytearray | memoryview) -> None:
        self.head = head
        """The headers at least."""
        self.body = body

    def __len__(self) -> int:
        return len(self.head) + len(self.body)

    def joined(self) -> bytes:
        """The packet in one piece."""
        return b"".join((self.head, self.body))


Verdict = tuple[Action, bytes | Gathered | None, ConnectionClass]
"""The action, the whole new IP packet for MODIFY or all of them for SPLIT, the connection's class.

A plain tuple: one is made per segment.
"""

WholeVerdict = tuple[Action, bytes | None, ConnectionClass]
"""The same with the packet in one piece."""

ACCEPT: Final[Verdict] = (Action.ACCEPT, None, ConnectionClass.UNDECIDED)
ACCEPT_PLAIN: Final[Verdict] = (Action.ACCEPT, None, ConnectionClass.PLAIN)
DROP: Final[Verdict] = (Action.DROP, None, ConnectionClass.UNDECIDED)


def joined(packet: bytes | Gathered | None) -> bytes:
    """The packet in one piece; empty for None."""
    return packet.joined() if isinstance(packet, Gathered) else packet or b""


def modify(packet: bytes, connection_class: ConnectionClass = ConnectionClass.UNDECIDED) -> Verdict:
    """The verdict that replaces the packet."""
    return Action.MODIFY, packet, connection_class
