"""What a bad path does to each TCP packet; seeded. Delays are seconds, probabilities are for each packet."""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Final

from tcpcryptd.wire import options
from tcpcryptd.wire.segment import FIN, PSH, SYN, Segment, locate, reverse_key
from tcpcryptd.wire.sequence import add

Later = tuple[float, bytes]
"""When a packet goes on, from now, and the packet."""
Impairment = Callable[[bytes], Iterable[Later]]

CRYPT, MAC = 69, 70
_CLIENT_SHIFT, _SERVER_SHIFT = 123_456_789, 4_000_000_000


def view(packet: bytes) -> Segment:
    """The TCP segment of a packet."""
    return Segment(packet, locate(packet)[0])


def loss(random: Random, probability: float = 0.04) -> Impairment:
    """Loses packets."""
    return lambda packet: [] if random.random() < probability else [(0.0, packet)]


def duplication(random: Random) -> Impairment:
    """Sends some twice, the copy a little later."""
    return lambda packet: [(0.0, packet), (0.003, packet)] if random.random() < 0.2 else [(0.0, packet)]


def reordering(random: Random) -> Impairment:
    """Holds some back for so long that more than a window overtakes them."""
    return lambda packet: [(0.08 if random.random() < 0.05 else 0.0, packet)]


def delay(random: Random) -> Impairment:
    """A long path."""
    return lambda packet: [(0.06, packet)]


def corruption(random: Random) -> Impairment:
    """Flips a bit behind the IP header; the checksum shows it."""

    def apply(packet: bytes) -> list[Later]:
        if random.random() >= 0.04:
            return [(0.0, packet)]
        changed = bytearray(packet)
        changed[random.randrange(20, len(packet))] ^= 1 << random.randrange(8)
        return [(0.0, bytes(changed))]

    return apply


def forgery(random: Random) -> Impairment:
    """Changes a byte of data, and the checksum fits."""

    def apply(packet: bytes) -> list[Later]:
        segment = view(packet)
        if not segment.payload_length or segment.option(CRYPT) is not None or random.random() >= 0.04:
            return [(0.0, packet)]
        payload = bytearray(segment.payload)
        payload[random.randrange(len(payload))] ^= 0x20
        return [(0.0, segment.edited(payload=bytes(payload)))]

    return apply


def splitting(random: Random, probability: float = 0.05) -> Impairment:
    """Cuts data in two, each piece with all options."""

    def apply(packet: bytes) -> list[Later]:
        segment = view(packet)
        middle, payload = segment.payload_length // 2, segment.payload
        if middle < 300 or random.random() >= probability:
            return [(0.0, packet)]
        first = segment.edited(payload=payload[:middle], flags=segment.flags & ~(FIN | PSH))
        return [(0.0, first), (0.0, segment.edited(payload=payload[middle:], sequence=add(segment.sequence, middle)))]

    return apply


def splitting_all(random: Random) -> Impairment:
    """Cuts whatever is long, each time."""
    return splitting(random, 1.0)


def merging(random: Random) -> Impairment:
    """Holds some data until what follows it comes, and sends both as one, with the options of the first."""
    held: dict[bytes, bytes] = {}

    def apply(packet: bytes) -> list[Later]:
        segment, flow = view(packet), locate(packet)[1]
        before = held.pop(flow, None)
        if before is not None:
            first = view(before)
            if first.end == segment.sequence and 0 < first.payload_length + segment.payload_length < 1380:
                return [(0.0, first.edited(payload=first.payload + segment.payload, flags=segment.flags))]
            return [(0.0, before), (0.0, packet)]
        if segment.payload_length and segment.option(CRYPT) is None and random.random() < 0.1:
            held[flow] = packet
            return []
        return [(0.0, packet)]

    return apply


def _once_per_opening(impairment: Callable[[Random], Impairment]) -> Callable[[Random], Impairment]:
    """Harms one packet with SYN of a connection at most: after two offers without an answer it would be plain."""

    def begin(random: Random) -> Impairment:
        harm = impairment(random)
        harmed: set[bytes] = set()

        def apply(packet: bytes) -> Iterable[Later]:
            if not view(packet).flags & SYN:
                return harm(packet)
            flow = locate(packet)[1]
            connection = min(flow, reverse_key(flow))
            if connection in harmed:
                return [(0.0, packet)]
            going = list(harm(packet))
            if all(new != packet for _, new in going):
                harmed.add(connection)
            return going

        return apply

    return begin


def _stripping(kinds: set[int], only_syn: bool) -> Impairment:
    edits: dict[int, bytes | None] = dict.fromkeys(kinds)

    def apply(packet: bytes) -> list[Later]:
        segment = view(packet)
        if (only_syn and not segment.flags & SYN) or not kinds & {kind for kind, _ in segment.options}:
            return [(0.0, packet)]
        return [(0.0, segment.edited(option_area=options.replace(segment.option_area, edits)))]

    return apply


def stripping_syn(random: Random) -> Impairment:
    """Takes what it does not know from SYNs."""
    return _stripping({CRYPT, MAC}, only_syn=True)


def stripping_all(random: Random) -> Impairment:
    """Takes what it does not know from all segments."""
    return _stripping({CRYPT, MAC}, only_syn=False)


def stripping_macs(random: Random) -> Impairment:
    """Lets the handshake pass and takes the MAC from what follows."""
    return _stripping({MAC}, only_syn=False)


def renumbering(random: Random) -> Impairment:
    """Gives both directions other sequence numbers, as some firewalls do."""

    def apply(packet: bytes) -> list[Later]:
        segment = view(packet)
        from_client = segment.addresses[:4] < segment.addresses[4:]
        sent, received = (_CLIENT_SHIFT, _SERVER_SHIFT) if from_client else (_SERVER_SHIFT, _CLIENT_SHIFT)
        acknowledgment = add(segment.acknowledgment, -received) if segment.acknowledgment else 0
        return [(0.0, segment.edited(sequence=add(segment.sequence, sent), acknowledgment=acknowledgment))]

    return apply


def clamping(random: Random) -> Impairment:
    """Lowers the MSS in SYNs."""

    def apply(packet: bytes) -> list[Later]:
        segment = view(packet)
        if not segment.flags & SYN:
            return [(0.0, packet)]
        area = options.replace(segment.option_area, {options.MSS: (536).to_bytes(2, "big")})
        return [(0.0, segment.edited(option_area=area))]

    return apply


def everything(random: Random) -> Impairment:
    """Loss, copies, overtaking and damage at once."""
    parts = (loss(random, 0.01), duplication(random), reordering(random), corruption(random))

    def apply(packet: bytes) -> list[Later]:
        going = [(0.0, packet)]
        for part in parts:
            going = [(before + after, new) for before, old in going for after, new in part(old)]
        return going

    return apply


IMPAIRMENTS: Final[Mapping[str, Callable[[Random], Impairment]]] = {
    "loss": _once_per_opening(loss),
    "corruption": _once_per_opening(corruption),
    "everything": _once_per_opening(everything),
} | {
    each.__name__: each
    for each in (
        duplication,
        reordering,
        delay,
        forgery,
        splitting,
        splitting_all,
        merging,
        stripping_syn,
        stripping_all,
        stripping_macs,
        renumbering,
        clamping,
    )
}
"""By name."""
