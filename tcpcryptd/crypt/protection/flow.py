"""The state that both directions of an encrypted connection share. Numbers are extended, on the wire."""

from typing import Final, Protocol

from tcpcryptd.core.protocol import ConnectionClass, ConnectionHandle
from tcpcryptd.crypt.protection.numbers import Numbers
from tcpcryptd.crypt.protection.session import Keys
from tcpcryptd.wire.checksum import address_sum
from tcpcryptd.wire.segment import FIN, RST, SYN, Segment
from tcpcryptd.wire.sequence import MASK

TIMESTAMP_PREFIX: Final = b"\x01\x01\x08\x0a"
RARE: Final = SYN | FIN | RST


class Flow:
    """One connection's numbers, and where its keys begin."""

    def __init__(
        self, connection: ConnectionHandle, numbers: Numbers, keys: Keys, connection_class: ConnectionClass
    ) -> None:
        self.connection = connection
        self.connection_class = connection_class
        self.numbers = numbers
        self.address_sum = address_sum(connection.key[:-4])
        self.mask = MASK << 32 | MASK if keys.suite.extended_sequence else MASK
        self.send_next = numbers.send_next
        """What follows the last byte or FIN that was sent."""
        self.receive_next = numbers.receive_next
        """The same of what was received."""
        self.acknowledged = numbers.send_next
        """The highest number that the peer has acknowledged."""
        self.send_generation = self.receive_generation = keys.generation
        self.send_started = numbers.send_next
        """Where the current keys of this host begin."""
        self.receive_started = numbers.receive_next
        """Where the peer's begin. What comes before keeps the generation before."""
        self.announcing = False
        """Whether segments carry REKEY, since the peer may not know of the current keys."""


class Change(Protocol):
    """A change of keys that waits for its moment, as the two directions see it."""

    def outgoing(self, segment: Segment, extended: int, now: float) -> Segment:
        """A segment of the local kernel's as the peer may see it."""

    def incoming(self, packet: bytes, offset: int, extended: int, length: int, before: int) -> bytes:
        """A segment for the local kernel, with the window that it may see; `before`: how far the peer had sent."""

    def says(self, *, data: bool, repeated: bool) -> bool:
        """Whether the segment at the start of the new keys says REKEY; `repeated`: its data was sent before."""

    def exhausted(self) -> None:
        """Something was not sent since the keys cannot bear more."""
