"""What the states of one handshake share: the two ends as their SYNs described them.

| state | this host has | leaves for |
|---|---|---|
| hello.HelloSent | sent a SYN with HELLO | client_exchange.ClientExchange; plain |
| hello.HelloReceived | received a SYN with HELLO | server_exchange.AwaitInit1 |
| client_exchange.ClientExchange | received PKCONF, sends INIT1 | protection.Protection; plain |
| server_exchange.AwaitInit1 | sent PKCONF | server_exchange.Init2Sent; plain |
| server_exchange.Init2Sent | received INIT1, sends INIT2 | protection.Protection |
| protection.Protection | the keys | |

Rules: no payload leaves in any of them, and the local kernel is kept from sending by a window of 0 (spec section 3).
What does not fit the state and could have been forged is dropped or passed on without changing the state. "Plain" hands
the connection back to the two kernels as they left it.
"""

import struct
from dataclasses import dataclass

from tcpcryptd.core.connection import Connection
from tcpcryptd.core.protocol import Injection
from tcpcryptd.core.verdict import Direction
from tcpcryptd.crypt.config import CryptConfig
from tcpcryptd.crypt.constants import MSS_REDUCTION
from tcpcryptd.crypt.numbers import Numbers
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, RST, Segment, make, reverse_key, timestamps
from tcpcryptd.wire.sequence import add

_DEFAULT_MSS = 536
_MAX_WINDOW_SCALE = 14
_TCP_HEADER = 20
_MSS = struct.Struct(">H")


@dataclass(slots=True)
class End:
    """One end of a connection, as its SYN described it; its latest timestamp is kept up to date."""

    isn: int = 0
    window: int = 0
    """As in the SYN, not scaled."""
    mss: int = _DEFAULT_MSS
    window_scale: int | None = None
    timestamp: int | None = None

    @classmethod
    def of(cls, syn: Segment) -> "End":
        """Reads a SYN or SYN ACK."""
        mss, scale = syn.option(options.MSS), syn.option(options.WINDOW_SCALE)
        sent = timestamps(syn.options)
        return cls(
            syn.sequence,
            syn.window,
            _MSS.unpack(mss)[0] if mss is not None and len(mss) == 2 else _DEFAULT_MSS,
            min(scale[0], _MAX_WINDOW_SCALE) if scale is not None and len(scale) == 1 else None,
            sent[0] if sent else None,
        )


class Handshake:
    """The connection, its configuration and its two ends."""

    def __init__(self, connection: Connection, config: CryptConfig) -> None:
        self.connection = connection
        self.config = config
        self.local = End()
        self.remote = End()
        self.peer_aware = False

    @property
    def max_segment(self) -> int:
        """Bytes of TCP segment that the local link carries."""
        return self.local.mss + _TCP_HEADER

    def saw(self, segment: Segment, direction: Direction, now: float) -> None:
        """Keeps the timestamp that a segment carries."""
        self.connection.last_seen = now
        end = self.local if direction is Direction.OUT else self.remote
        sent = timestamps(segment.options)
        if sent is not None and end.timestamp is not None:
            end.timestamp = sent[0]

    def make(self, direction: Direction, shift: int = 0, option: bytes = b"", payload: bytes = b"") -> bytes:
        """The ACK that one end would send after the SYNs, with an option and a payload of our own.

        `shift` is added to the acknowledgment number.
        """
        sender, receiver = (self.local, self.remote) if direction is Direction.OUT else (self.remote, self.local)
        area = b""
        if sender.timestamp is not None and receiver.timestamp is not None:
            stamp = struct.pack(">II", sender.timestamp, receiver.timestamp)
            area = b"\x01\x01" + options.encode(options.TIMESTAMP, stamp)
        scale = sender.window_scale if receiver.window_scale is not None else None
        return make(
            self._key(direction),
            sequence=add(sender.isn, 1),
            acknowledgment=add(receiver.isn, 1 + shift),
            flags=ACK,
            window=sender.window >> (scale or 0) or 1,
            option_area=options.pad(area + option),
            payload=payload,
        )

    def numbers(self, *, sent: int, received: int) -> Numbers:
        """Where the wire's sequence numbers are after handshake messages of these lengths."""
        return Numbers(sent, received, add(self.local.isn, 1 + sent), add(self.remote.isn, 1 + received))

    def resets(self, sent: int = 0) -> list[Injection]:
        """RST segments for both kernels, which have not exchanged data yet; the peer's may have seen `sent` bytes."""
        key, ours, theirs = self.connection.key, add(self.local.isn, 1), add(self.remote.isn, 1)
        outgoing = make(key, sequence=add(ours, sent), acknowledgment=theirs, flags=RST | ACK, window=0)
        incoming = make(reverse_key(key), sequence=theirs, acknowledgment=ours, flags=RST | ACK, window=0)
        return [(Direction.OUT, outgoing), (Direction.IN, incoming)]

    def _key(self, direction: Direction) -> bytes:
        return self.connection.key if direction is Direction.OUT else reverse_key(self.connection.key)


def without_sack(option_area: bytes) -> bytes:
    """A SYN's option area with SACK-permitted blanked (spec section 11)."""
    return options.replace(option_area, {options.SACK_PERMITTED: None})


def for_local_kernel(syn: Segment, max_mss: int) -> bytes:
    """A SYN of the peer's as the local kernel may see it: window 0, no SACK, MSS lowered (spec sections 3 and 11)."""
    edits: dict[int, bytes | None] = {options.SACK_PERMITTED: None}
    mss = syn.option(options.MSS)
    if mss is not None and len(mss) == 2:
        edits[options.MSS] = _MSS.pack(max(min(_MSS.unpack(mss)[0], max_mss) - MSS_REDUCTION, 1))
    return syn.edited(window=0, option_area=options.replace(syn.option_area, edits), payload=b"")
