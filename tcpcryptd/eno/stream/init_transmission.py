"""Sends Init1 and Init2 in as many segments as the path needs, and again until they are acknowledged."""

from collections.abc import Callable, Iterator
from typing import Final

from tcpcryptd.core.protocol import ConnectionHandle, Direction
from tcpcryptd.eno.limits import INIT_INTERVALS
from tcpcryptd.wire.icmp import LEAST_MTU
from tcpcryptd.wire.segment import ACK, PSH
from tcpcryptd.wire.sequence import MASK
from tcpcryptd.wire.syn import Ends

_TCP_HEADER: Final = 20
_LEAST_ROOM: Final = 64
"""Least bytes of a message in a segment, whatever MSS the peer announces, so that there are not too many."""
_BLIND_AFTER: Final = 2
"""Repetitions after which the path is taken to swallow large segments without a word."""


class InitTransmission:
    """One message. Uses the connection's timer."""

    def __init__(
        self,
        connection: ConnectionHandle,
        ends: Ends,
        message: bytes,
        give_up: Callable[[float], None],
        *,
        received: int = 0,
        option: bytes = b"",
    ) -> None:
        """`received`: bytes of the peer's message, which the segments acknowledge; `option`: what each of them has."""
        self.message = message
        self._connection = connection
        self._ends = ends
        self._give_up = give_up
        self._received = received
        self._option = option
        self._tries = 0
        self._mtu: int | None = None
        """What an ICMP error has said."""
        self.acknowledged = 0
        """Bytes of the message that the peer has."""

    def first(self, option_length: int) -> bytes:
        """The beginning of the message, for a segment with so many bytes of options."""
        return self.message[: self._room(option_length)]

    def start(self, now: float) -> None:
        """The message was sent at `now`."""
        self._connection.set_timer(now + INIT_INTERVALS[self._tries], self._timeout)

    def send(self, start: int = 0) -> None:
        """Sends the message from a byte of it on."""
        for packet in self._packets(start):
            self._connection.inject(Direction.OUT, packet)

    def repeat(self) -> None:
        """Sends again what the peer has not acknowledged."""
        self.send(self.acknowledged)

    def was_too_large(self, sequence: int, mtu: int | None) -> bool:
        """Whether an ICMP error is about the message, which goes out in smaller segments then.

        It is a matter of the daemon's: the local kernel has sent nothing.
        """
        if (sequence - self._ends.local.isn - 1) & MASK >= len(self.message):
            return False
        if mtu is not None:
            narrowed = max(mtu, LEAST_MTU[self._version])
            if self._mtu is None or narrowed < self._mtu:
                self._mtu = narrowed
                self.repeat()
        return True

    def _timeout(self, now: float) -> None:
        self._tries += 1
        if self._tries == len(INIT_INTERVALS):
            self._give_up(now)
            return
        if self._tries == _BLIND_AFTER:
            self._mtu = LEAST_MTU[self._version]
        self._connection.count("handshake_retransmissions")
        self.repeat()
        self.start(now)

    @property
    def _version(self) -> int:
        return 4 if len(self._connection.peer_address) == 4 else 6

    def _room(self, option_length: int) -> int:
        """Bytes of the message that fit in a segment."""
        headers = _TCP_HEADER + (20 if self._version == 4 else 40)
        sizes = [self._ends.local.mss, self._ends.remote.mss]
        if len(self.message) + option_length + headers > LEAST_MTU[self._version]:
            # Asking for the path's takes system calls.
            sizes += [mtu - headers for mtu in (self._mtu, self._connection.path_mtu()) if mtu is not None]
        return max(min(sizes) - option_length, _LEAST_ROOM)

    def _packets(self, start: int) -> Iterator[bytes]:
        total = len(self.message)
        room = self._room(self._ends.option_length(self._option))
        for at in range(start, total, room):
            end = min(at + room, total)
            yield self._ends.acknowledgment(
                outbound=True,
                sent=at,
                shift=self._received,
                flags=ACK | PSH if end == total else ACK,
                option=self._option,
                payload=self.message[at:end],
            )
