"""What tcpcrypt put into one TCP segment."""

from dataclasses import dataclass, replace

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from tcpcryptd.dissect.element import Malformed
from tcpcryptd.dissect.message import MESSAGES
from tcpcryptd.dissect.option import CryptOption, read_options
from tcpcryptd.dissect.suboption import Suboption
from tcpcryptd.dissect.tcpcrypt import INIT1_MAGIC, TcpcryptInit1, TcpcryptInit2, init_length
from tcpcryptd.wire.options import OptionError
from tcpcryptd.wire.segment import SYN, MalformedPacket, Segment, locate

_PROTOCOL_TCP = 6
FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


@dataclass(frozen=True)
class Dissection:
    """The tcpcrypt parts of a TCP segment; as a string, one line."""

    ends: str
    """Source and destination, with ports when they could be read."""
    segment: Segment | None = None
    """None when the packet's headers cannot be read. What the capture cut off reads as zero bytes."""
    options: tuple[Packet, ...] = ()
    """CryptOption, EnoSynOption, EnoOption, MacOption or Malformed, in the header's order, also behind its padding."""
    message: Packet | None = None
    """Init1, Init2, or Malformed in their place; None without their suboption, or when the capture cut the payload.

    TcpcryptInit1 or TcpcryptInit2 when the payload begins with all of one: TCP-ENO has nothing in the header for them.
    """
    missing: int = 0
    """Bytes of payload that the capture cut off."""
    malformed: str | None = None
    """Why the headers or the option area could not be read."""

    @property
    def suboptions(self) -> list[Packet]:
        """Those of the CRYPT options; an empty one, which means HELLO, has none."""
        return [entry for option in self.options if isinstance(option, CryptOption) for entry in option.suboptions]

    def __str__(self) -> str:
        words = [self.ends]
        if self.segment:
            words += [name for bit, name in enumerate(FLAG_NAMES) if self.segment.flags >> bit & 1]
            words.append(f"seq {self.segment.sequence} len {self.segment.payload_length}")
        if self.missing:
            words.append(f"({self.missing} not captured)")
        if self.malformed is not None:
            words.append(f"malformed: {self.malformed}")
        layers = [*self.options, *([self.message] if self.message is not None else [])]
        return "; ".join([" ".join(words), *(layer.mysummary() for layer in layers)])


def dissect(packet: Packet) -> Dissection | None:
    """The tcpcrypt parts of a packet that scapy read or built; None when it is not TCP over IPv4 or IPv6.

    Of several IP headers the innermost counts. Raises nothing for a packet that was read, whatever is in it.
    """
    ip = _ip_layer(packet)
    if ip is None:
        return None
    try:
        segment, missing = _segment(bytes(ip))
    except MalformedPacket as error:
        return Dissection(f"{ip.src} > {ip.dst}", malformed=str(error) or "fragment")
    host = "[{}]:{}" if isinstance(ip, IPv6) else "{}:{}"
    ends = f"{host.format(ip.src, segment.source_port)} > {host.format(ip.dst, segment.destination_port)}"
    dissection = Dissection(ends, segment, missing=missing)
    try:
        dissection = replace(
            dissection, options=tuple(read_options(segment.option_area, in_syn=bool(segment.flags & SYN)))
        )
    except OptionError as error:
        return replace(dissection, malformed=str(error))
    opcodes = [entry.opcode for entry in dissection.suboptions if isinstance(entry, Suboption)]
    layer = next((MESSAGES[opcode] for opcode in opcodes if opcode in MESSAGES), None)
    if missing:
        return dissection
    if layer is None:
        return replace(dissection, message=_init(segment.payload))
    # Scapy takes no bytes for a layer to be built.
    return replace(dissection, message=layer(segment.payload) if segment.payload else Malformed())


def summary(packet: Packet) -> str:
    """One line for any packet."""
    dissection = dissect(packet)
    return "not TCP" if dissection is None else str(dissection)


def _init(payload: bytes) -> Packet | None:
    length = init_length(payload)
    if length is None or not 0 < length <= len(payload):
        return None
    found: Packet = (TcpcryptInit1 if payload.startswith(INIT1_MAGIC) else TcpcryptInit2)(payload[:length])
    return None if type(found) is Malformed else found


def _ip_layer(packet: Packet) -> Packet | None:
    found, layer = None, packet
    while layer:
        # A header quoted in an ICMP error is of a subclass.
        if type(layer) in (IP, IPv6):
            found = layer
        layer = layer.payload
    if found is None or TCP in found:
        return found
    protocol = found.nh if isinstance(found, IPv6) else found.proto
    return found if protocol == _PROTOCOL_TCP else None


def _segment(captured: bytes) -> tuple[Segment, int]:
    """The segment, filled up with zero bytes to its length, and how many bytes of its payload they are.

    Link-layer padding is left out. A length of 0 stands for more than 64 KiB (BIG TCP): then all that was captured is
    the packet. Raises MalformedPacket.
    """
    if len(captured) < 40:
        raise MalformedPacket(f"{len(captured)} bytes are too few for TCP over IP")
    length_at, before = (2, 0) if captured[0] >> 4 == 4 else (4, 40)
    field = int.from_bytes(captured[length_at : length_at + 2], "big")
    length = before + field if field else len(captured)
    packet = captured[:length].ljust(length, b"\0")
    segment = Segment(packet, locate(packet, whole=field != 0)[0])
    missing = max(0, length - len(captured))
    if missing > segment.payload_length:
        raise MalformedPacket("the capture ends in the header")
    return segment, missing
