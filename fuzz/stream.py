"""What applications send: blocks that say who wrote them, so that a leak and a wrong byte can be seen."""

from dataclasses import dataclass, field

from tests.machine.endpoint import Socket
from tests.machine.host import Tracked

MARK = b"<plaintext MARK "
BLOCK = 32
"""Bytes of each block: the mark, the writer's number."""


def block(number: int) -> bytes:
    """The block of the writer with this number."""
    return MARK + b"%015d>" % number


@dataclass
class Stream:
    """One socket, what it wrote and what of its input was looked at."""

    host: str
    socket: Socket = field(repr=False)
    number: int
    written: int = 0
    checked: int = 0
    encrypted: bool = False
    """Its connection was seen encrypted; from then on nothing of it is plain."""
    tracked: Tracked | None = field(default=None, repr=False)
    """The tracker's entry, when the connection was last known to be encrypted."""
    orphaned: bool = False
    """Its host's daemon was started again."""
    hostile: bool = False
    """Its own kernel did what no kernel does: no promise holds."""
    source: "Stream | None" = field(default=None, repr=False)

    def write(self, size: int) -> None:
        """Sends `size` more bytes."""
        start = self.written % BLOCK
        self.written += size
        self.socket.write((block(self.number) * (size // BLOCK + 2))[start : start + size])

    def matches(self, received: bytes, start: int) -> bool:
        """Whether `received` is what this stream wrote from byte `start` on."""
        if start + len(received) > self.written:
            return False
        offset = start % BLOCK
        return (block(self.number) * (len(received) // BLOCK + 2))[offset : offset + len(received)] == received
