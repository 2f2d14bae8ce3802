"""The wire between two hosts: seeded loss, duplication, reordering and corruption, and scripted impairments."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from tcpcryptd.wire import options
from tcpcryptd.wire.checksum import address_sum
from tcpcryptd.wire.segment import ACK, FIN, PSH, SYN, Segment, locate
from tcpcryptd.wire.sequence import add
from tests.machine.clock import Clock

CRYPT, MAC = 69, 70


def view(packet: bytes) -> Segment:
    return Segment(packet, locate(packet)[0])


@dataclass(frozen=True)
class Crossing:
    """A packet as a host put it on the wire."""

    time: float
    sender: str
    packet: bytes

    @property
    def segment(self) -> Segment:
        return view(self.packet)

    def __str__(self) -> str:
        segment = self.segment
        flags = "".join(letter for bit, letter in enumerate("FSRPAUEC") if segment.flags >> bit & 1)
        kinds = ",".join(str(kind) for kind, _ in segment.options)
        return (
            f"{self.time:9.3f} {self.sender:7} {flags:4} seq {segment.sequence} ack {segment.acknowledgment} "
            f"win {segment.window} len {segment.payload_length} options {kinds}"
        )


@dataclass(frozen=True)
class Conditions:
    """Probabilities for each packet, and the one-way delay in seconds."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    corruption: float = 0.0
    delay: float = 0.01


Filter = Callable[[Crossing], Iterable[bytes]]
"""What becomes of a packet: itself, other packets, or nothing."""
Predicate = Callable[[Crossing], bool]


class Link:
    """Carries packets between the hosts that are attached by name, and keeps a record of all of them."""

    def __init__(self, clock: Clock, seed: int, conditions: Conditions | None = None) -> None:
        self.clock = clock
        self.conditions = conditions or Conditions()
        self.filters: list[Filter] = []
        self.log: list[Crossing] = []
        self._random = Random(seed)
        self._receivers: dict[str, Callable[[bytes], None]] = {}

    def attach(self, name: str, receive: Callable[[bytes], None]) -> None:
        self._receivers[name] = receive

    def send(self, sender: str, packet: bytes) -> None:
        crossing = Crossing(self.clock.now, sender, packet)
        self.log.append(crossing)
        packets = [packet]
        for each in self.filters:
            packets = [new for old in packets for new in each(Crossing(self.clock.now, sender, old))]
        for new in packets:
            self._impair(sender, new)

    def deliver(self, sender: str, packet: bytes) -> None:
        """Puts a packet at the other end, by `sender`'s name, without a record: an attacker's."""
        for name, receive in self._receivers.items():
            if name != sender:
                receive(packet)

    def _impair(self, sender: str, packet: bytes) -> None:
        conditions, random = self.conditions, self._random
        copies = 0 if random.random() < conditions.loss else 2 if random.random() < conditions.duplication else 1
        for _ in range(copies):
            delay = conditions.delay
            if random.random() < conditions.reordering:
                delay += random.uniform(0, 4 * conditions.delay)
            data = self._corrupted(packet) if random.random() < conditions.corruption else packet
            self.clock.after(delay, lambda data=data: self.deliver(sender, data))  # type: ignore[misc]

    def _corrupted(self, packet: bytes) -> bytes:
        bit = self._random.randrange(len(packet) * 8)
        changed = bytearray(packet)
        changed[bit // 8] ^= 1 << bit % 8
        return packet if has_partial_checksum(packet) else bytes(changed)


def has_partial_checksum(packet: bytes) -> bool:
    """Whether a checksum is what a kernel leaves for its network card to complete, as one in 65,536 is by chance.

    The engine takes such a segment for one that the kernel has verified, so that no corruption of it is detected.
    """
    offset, _ = locate(packet)
    addresses = view(packet).addresses
    return (
        int.from_bytes(packet[offset + 16 : offset + 18], "big")
        == (address_sum(addresses) + len(packet) - offset) % 65535
    )


def drop(predicate: Predicate) -> Filter:
    """Drops every packet that fits."""
    return lambda crossing: [] if predicate(crossing) else [crossing.packet]


def drop_nth(predicate: Predicate, *numbers: int) -> Filter:
    """Drops the packets with these numbers, from 1, among those that fit."""
    seen = 0

    def apply(crossing: Crossing) -> list[bytes]:
        nonlocal seen
        if not predicate(crossing):
            return [crossing.packet]
        seen += 1
        return [] if seen in numbers else [crossing.packet]

    return apply


def repeat(predicate: Predicate) -> Filter:
    """Sends twice what fits."""
    return lambda crossing: [crossing.packet] * (2 if predicate(crossing) else 1)


def strip(kind: int, predicate: Predicate) -> Filter:
    """Blanks an option, as middleboxes do."""

    def apply(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not predicate(crossing) or segment.option(kind) is None:
            return [crossing.packet]
        return [segment.edited(option_area=options.replace(segment.option_area, {kind: None}))]

    return apply


def split(crossing: Crossing) -> list[bytes]:
    """Cuts unprotected data in two, as a middlebox or an interface may."""
    segment = crossing.segment
    if segment.option(MAC) is not None or segment.option(CRYPT) is not None or segment.payload_length < 2:
        return [crossing.packet]
    middle, payload = segment.payload_length // 2, segment.payload
    return [
        segment.edited(payload=payload[:middle], flags=segment.flags & ~(FIN | PSH)),
        segment.edited(payload=payload[middle:], sequence=add(segment.sequence, middle)),
    ]


class Merge:
    """Holds unprotected data until the segment that follows it, and sends the two as one."""

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}

    def __call__(self, crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        held = self._held.pop(crossing.sender, None)
        plain = segment.option(MAC) is None and segment.option(CRYPT) is None and not segment.flags & SYN
        if held is not None:
            before = view(held)
            if plain and before.end == segment.sequence and segment.payload_length:
                return [segment.edited(sequence=before.sequence, payload=before.payload + segment.payload)]
            return [held, crossing.packet]
        if plain and segment.payload_length and not segment.flags & FIN:
            self._held[crossing.sender] = crossing.packet
            return []
        return [crossing.packet]


def all_of(*predicates: Predicate) -> Predicate:
    return lambda crossing: all(predicate(crossing) for predicate in predicates)


def sent_by(name: str) -> Predicate:
    return lambda crossing: crossing.sender == name


def has_option(kind: int) -> Predicate:
    return lambda crossing: crossing.segment.option(kind) is not None


def has_flags(mask: int, value: int) -> Predicate:
    return lambda crossing: crossing.segment.flags & mask == value


IS_SYN = has_flags(SYN, SYN)
SYN_ALONE = has_flags(SYN | ACK, SYN)
SYN_ACK = has_flags(SYN | ACK, SYN | ACK)
NO_SYN = has_flags(SYN, 0)


def has_payload(crossing: Crossing) -> bool:
    return crossing.segment.payload_length > 0


def any_packet(_: Crossing) -> bool:
    return True
