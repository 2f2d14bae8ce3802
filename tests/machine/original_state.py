"""What the model of the original daemon keeps of a connection, and the numbers of its protocol."""

import enum
from dataclasses import dataclass, field

from tcpcryptd.core.verdict import Direction
from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.ctr_hmac import CtrHmacProtection
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, FIN, RST, Segment, locate, make, reverse_key
from tcpcryptd.wire.sequence import add

CRYPT, MAC = 69, 70
HELLO, HELLO_AWARE, NEXTK2, NEXTK2_AWARE, INIT1, INIT2 = 0x01, 0x02, 0x04, 0x05, 0x06, 0x07
PKCONF, PKCONF_AWARE, REKEY, NEXTK1, NEXTK1_AWARE = 0x41, 0x42, 0x83, 0x84, 0x85
PUBLIC_KEYS = bytes.fromhex("020404")
SYMMETRIC = bytes.fromhex("00010000 00020000 00000001 00000002")
"""AES128-CTR-SEQIV, RC4, HMAC-SHA1, UMAC."""
CHOSEN = bytes.fromhex("00010001")
UNAUTHENTICATED = (0, 1, 8, 16, 17, 19, MAC)
REPEAT_AFTER, TRIES, LINGER = 0.1, 10, 10.0
MTU = 1500


class State(enum.Enum):
    CLOSED = enum.auto()
    HELLO_SENT = enum.auto()
    HELLO_RECEIVED = enum.auto()
    PKCONF_SENT = enum.auto()
    PKCONF_RECEIVED = enum.auto()
    INIT1_SENT = enum.auto()
    INIT2_SENT = enum.auto()
    NEXTK1_SENT = enum.auto()
    NEXTK1_RECEIVED = enum.auto()
    NEXTK2_SENT = enum.auto()
    ENCRYPTING = enum.auto()
    REKEY_RECEIVED = enum.auto()
    REKEY_ACKNOWLEDGED = enum.auto()
    DISABLED = enum.auto()


CONNECTED = (State.ENCRYPTING, State.REKEY_RECEIVED, State.REKEY_ACKNOWLEDGED)
SENDING = (*CONNECTED, State.DISABLED, State.INIT2_SENT)
"""Where its kernel may send: in all others it sees a window of 0."""


class Closing(enum.Enum):
    OPEN = enum.auto()
    SENT_FIRST = enum.auto()
    RECEIVED_FIRST = enum.auto()
    SENT_SECOND = enum.auto()
    RECEIVED_SECOND = enum.auto()
    LAST_ACK = enum.auto()
    DEAD = enum.auto()


class Aborted(Exception):
    """An assertion of its failed."""


@dataclass
class Session:
    """What the next connection with the same direction can go on from."""

    active: bool
    peer: bytes
    is_client: bool
    secret: bytes
    used: bool = False

    @property
    def prefix(self) -> bytes:
        return key_schedule.session_id(self.secret)[:9]


@dataclass
class Keys:
    send: CtrHmacProtection
    receive: CtrHmacProtection


@dataclass
class Connection:
    """One entry; `key` is the flow key of what its host sends."""

    key: bytes
    active: bool = True
    state: State = State.CLOSED
    closing: Closing = Closing.OPEN
    sent_shift: int = 0
    received_shift: int = 0
    is_client: bool = False
    nonce: bytes = b""
    offered: bytes = b""
    session: Session | None = None
    master: bytes = b""
    current: Keys | None = None
    next: Keys | None = None
    generation: int = 0
    sending: int = 0
    receiving: int = 0
    rekey_number: int = 0
    repeated: bytes = b""
    tries: int = 0
    due: float | None = None
    forget_at: float | None = None
    clamped: bool = False
    quiet_areas: dict[Direction, int] = field(default_factory=dict)
    """The length of an option area that was found to have nothing for the MAC."""

    def sent(self, flags: int, now: float) -> None:
        """Its host has sent a segment; of a connection that closes it forgets more than it should."""
        if flags & FIN:
            if self.closing is Closing.RECEIVED_FIRST:
                self.closing = Closing.SENT_SECOND
            elif self.closing is not Closing.SENT_SECOND:
                self.closing = Closing.SENT_FIRST
        elif flags & RST:
            self.closing = Closing.DEAD
        elif flags & ACK and self.closing is Closing.RECEIVED_SECOND:
            self.closing, self.forget_at = Closing.LAST_ACK, now + LINGER

    def received(self, flags: int) -> None:
        if flags & FIN:
            if self.closing is Closing.SENT_FIRST:
                self.closing = Closing.RECEIVED_SECOND
            elif self.closing not in (Closing.LAST_ACK, Closing.RECEIVED_SECOND):
                self.closing = Closing.RECEIVED_FIRST
        elif self.closing is Closing.SENT_SECOND and flags & ACK:
            self.closing = Closing.DEAD


def clamp(segment: Segment) -> bytes:
    """A SYN with its MSS lowered."""
    mss = segment.option(options.MSS)
    if mss is None:
        return segment.packet
    lowered = (int.from_bytes(mss, "big") - 40).to_bytes(2, "big")
    return segment.edited(option_area=options.replace(segment.option_area, {options.MSS: lowered}))


def need(condition: object) -> None:
    if not condition:
        raise Aborted


def view(packet: bytes) -> Segment:
    return Segment(packet, locate(packet)[0])


def reply(segment: Segment) -> Segment:
    """The ACK that it makes of what came in: no options, the same window."""
    key = segment.addresses + segment.packet[segment.offset : segment.offset + 4]
    return view(
        make(
            reverse_key(key),
            sequence=segment.acknowledgment,
            acknowledgment=add(segment.sequence, segment.payload_length),
            flags=ACK,
            window=segment.window,
        )
    )


def find(segment: Segment, opcode: int) -> bytes | None:
    """The body of a suboption; it reads the first CRYPT option."""
    value = segment.option(CRYPT)
    if value is None:
        return None
    if not value:
        return b"" if opcode == HELLO else None
    while value:
        found = value[0]
        if found <= 0x3F:
            length, start = 1, 1
        elif found < 0x80:
            length, start = (value[1] if len(value) > 1 else 0xFF), 2
        else:
            need(found in (REKEY, NEXTK1, NEXTK1_AWARE))
            length, start = (6 if found == REKEY else 10), 1
        if not length or length > len(value):
            return None
        if found == opcode:
            return value[start:length]
        value = value[length:]
    return None
