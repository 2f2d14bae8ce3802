"""The parts of tcpcrypt in one TCP segment."""

from collections.abc import Callable
from functools import cached_property
from ipaddress import ip_address

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from tcpcryptd.dissect.element import Malformed
from tcpcryptd.dissect.message import MESSAGES
from tcpcryptd.dissect.names import CRYPT, MAC
from tcpcryptd.dissect.option import CryptOption, MacOption, option_layers
from tcpcryptd.dissect.suboption import Suboption
from tcpcryptd.dissect.tcpcrypt import INIT1_MAGIC, TcpcryptInit1, TcpcryptInit2, init_length
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import SYN, MalformedPacket, Segment, locate

_PROTOCOL_TCP = 6
NOT_TCP = "not TCP"
FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


class Dissection:
    """The tcpcrypt parts of a TCP segment; as a string, one line. Scapy's layers are made when they are asked for."""

    def __init__(
        self, segment: Segment | None, missing: int = 0, *, malformed: str | None = None, ends: str | None = None
    ) -> None:
        self.segment = segment
        """None when the packet's headers cannot be read. What the capture cut off reads as zero bytes."""
        self.missing = missing
        """Bytes of payload that the capture cut off."""
        self.malformed = malformed
        """Why the headers or the option area could not be read."""
        self.values: list[options.Option] = []
        """Kinds and values of all options; none when they cannot be read."""
        self._ends = ends
        if segment is not None:
            try:
                self.values = options.parse(segment.option_area)
            except options.OptionError as error:
                self.malformed = str(error)

    @property
    def ends(self) -> str:
        """Source and destination, with ports when they could be read."""
        if self._ends is not None or self.segment is None:
            return self._ends or ""
        source, destination = (str(ip_address(each)) for each in _addresses(self.segment.packet))
        host = "[{}]:{}" if ":" in source else "{}:{}"
        ports = self.segment.source_port, self.segment.destination_port
        return f"{host.format(source, ports[0])} > {host.format(destination, ports[1])}"

    @property
    def mac(self) -> bytes | None:
        """Of the first MAC option."""
        return options.find(self.values, MAC)

    @cached_property
    def options(self) -> tuple[Packet, ...]:
        """CryptOption, EnoSynOption, EnoOption, MacOption or Malformed, in the header's order, those behind EOL too."""
        in_syn = self.segment is not None and bool(self.segment.flags & SYN)
        return tuple(option_layers(self.values, in_syn=in_syn))

    @property
    def handshake_options(self) -> list[Packet]:
        """The same without MACs."""
        if options.find(self.values, CRYPT) is None:
            return []
        return [option for option in self.options if not isinstance(option, MacOption)]

    @cached_property
    def message(self) -> Packet | None:
        """Init1, Init2, or Malformed in their place; None without their suboption, or when the capture cut the payload.

        TcpcryptInit1 or TcpcryptInit2 when the payload begins with all of one: with TCP-ENO the header does not tell.
        """
        if self.segment is None or self.missing or self.malformed is not None:
            return None
        payload = self.segment.payload
        opcodes = [entry.opcode for entry in self.suboptions if isinstance(entry, Suboption)]
        layer = next((MESSAGES[opcode] for opcode in opcodes if opcode in MESSAGES), None)
        if layer is None:
            return init_message(payload)
        # Scapy takes no bytes for a layer to be built.
        return layer(payload) if payload else Malformed()

    @property
    def suboptions(self) -> list[Packet]:
        """Those of the CRYPT options; an empty one, which means HELLO, has none."""
        found = (option for option in self.handshake_options if isinstance(option, CryptOption))
        return [entry for option in found for entry in option.suboptions]

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
    return None if ip is None else _dissect(bytes(ip), lambda: f"{ip.src} > {ip.dst}")


def dissect_ip(packet: bytes) -> Dissection:
    """The tcpcrypt parts of a TCP packet from its IP header on, which has all of its addresses."""
    return _dissect(packet, lambda: " > ".join(str(ip_address(each)) for each in _addresses(packet)))


def _addresses(packet: bytes) -> tuple[bytes, bytes]:
    return (packet[12:16], packet[16:20]) if packet[0] >> 4 == 4 else (packet[8:24], packet[24:40])


def _dissect(packet: bytes, ends: Callable[[], str]) -> Dissection:
    try:
        segment, missing = _segment(packet)
    except MalformedPacket as error:
        return Dissection(None, malformed=str(error) or "fragment", ends=ends())
    return Dissection(segment, missing)


def summary(packet: Packet) -> str:
    """One line for any packet."""
    dissection = dissect(packet)
    return NOT_TCP if dissection is None else str(dissection)


def init_message(payload: bytes) -> Packet | None:
    """The Init message that a payload begins with; None without all of one."""
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
