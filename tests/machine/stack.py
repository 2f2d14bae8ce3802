"""The sockets of one host: the part of a kernel that finds them, listens, and refuses."""

from collections.abc import Callable
from ipaddress import ip_address
from itertools import count
from random import Random

from tcpcryptd.wire.segment import ACK, RST, MalformedPacket, Segment, locate, make, reverse_key
from tests.machine.clock import Clock
from tests.machine.endpoint import Behaviour, Socket, State
from tests.machine.icmp import TooBig, read_too_big


def folded_sum(data: bytes) -> int:
    """RFC 1071, word by word: not the package's own."""
    total = sum(int.from_bytes(data[start : start + 2].ljust(2, b"\0"), "big") for start in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksums_are_right(packet: bytes, offset: int) -> bool:
    version = packet[0] >> 4
    if version == 4 and folded_sum(packet[:offset]) != 0xFFFF:
        return False
    addresses = packet[12:20] if version == 4 else packet[8:40]
    length = len(packet) - offset
    return folded_sum(addresses + length.to_bytes(4, "big") + b"\0\0\0\x06" + packet[offset:]) == 0xFFFF


class Stack:
    """`transmit` takes the packets that leave the kernel."""

    def __init__(self, clock: Clock, address: str, seed: str, transmit: Callable[[bytes], None]) -> None:
        self.clock = clock
        self.address = address
        self.accepted: list[Socket] = []
        self.sockets: dict[bytes, Socket] = {}
        self.bad_packets = 0
        self.refused = 0
        self.emit = transmit
        self.emit_whole: Callable[[bytes, int], None]
        """Takes a packet that is still to be cut into segments with so many bytes of payload."""
        self.random = Random(seed)
        self._listening: dict[int, Behaviour] = {}
        self._timers = count(1)

    def listen(self, port: int, behaviour: Behaviour | None = None) -> None:
        self._listening[port] = behaviour or Behaviour()

    def open(
        self, remote: str, port: int, *, local_port: int, behaviour: Behaviour | None = None, isn: int | None = None
    ) -> Socket:
        """Connects; the socket is there at once, its connection when the clock has run."""
        ports = local_port.to_bytes(2, "big") + port.to_bytes(2, "big")
        key = ip_address(self.address).packed + ip_address(remote).packed + ports
        return self._add(key, behaviour or Behaviour(), isn, lambda socket: socket.connect())

    def receive(self, packet: bytes) -> None:
        """A packet for the local host; as a kernel does, it drops what has a wrong checksum."""
        error = read_too_big(packet)
        if error is not None:
            self._receive_error(packet, error)
            return
        try:
            offset, flow = locate(packet)
            segment = Segment(packet, offset)
        except MalformedPacket:
            self.bad_packets += 1
            return
        if not checksums_are_right(packet, offset):
            self.bad_packets += 1
            return
        key = reverse_key(flow)
        socket = self.sockets.get(key)
        if socket is not None and segment.is_opening and socket.state is State.TIME_WAIT:
            self.forget(socket)
            socket.state = State.CLOSED
            socket = None
        if socket is not None:
            socket.receive(segment)
        elif segment.is_opening and segment.destination_port in self._listening:
            behaviour = self._listening[segment.destination_port]
            self._add(key, behaviour, None, lambda new: new.accept(segment))
        elif not segment.flags & RST:
            self.refuse(segment)

    def _receive_error(self, packet: bytes, error: TooBig) -> None:
        is_v6 = packet[0] >> 4 == 6
        message = packet[40:] if is_v6 else packet[20:]
        pseudo_header = packet[8:40] + len(message).to_bytes(4, "big") + b"\0\0\0\x3a" if is_v6 else b""
        if folded_sum(pseudo_header + message) != 0xFFFF:
            self.bad_packets += 1
        elif error.key in self.sockets:
            self.sockets[error.key].too_big(error.sequence, error.mtu)

    def refuse(self, segment: Segment) -> None:
        """RFC 9293, section 3.10.7.1."""
        self.refused += 1
        flow = segment.addresses + segment.packet[segment.offset : segment.offset + 4]
        if segment.flags & ACK:
            sequence, acknowledgment, flags = segment.acknowledgment, 0, RST
        else:
            sequence, acknowledgment, flags = 0, segment.end, RST | ACK
        self.emit(make(reverse_key(flow), sequence=sequence, acknowledgment=acknowledgment, flags=flags, window=0))

    def schedule(self, delay: float, action: Callable[[int], None]) -> int:
        timer = next(self._timers)
        self.clock.after(delay, lambda: action(timer))
        return timer

    def forget(self, socket: Socket) -> None:
        if self.sockets.get(socket.key) is socket:
            del self.sockets[socket.key]

    def _add(self, key: bytes, behaviour: Behaviour, isn: int | None, begin: Callable[[Socket], None]) -> Socket:
        number = self.random.randrange(1 << 32) if isn is None else isn
        socket = self.sockets[key] = Socket(self, key, behaviour, number, self.random)
        begin(socket)
        return socket
