"""Packets of any lengths in order, through a socket pair; that they arrive by a raw socket is tried in namespaces."""

import ctypes
import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from tcpcryptd.netio.kernel import sendmmsg
from tcpcryptd.netio.kernel.raw_socket import RawSocket
from tcpcryptd.netio.kernel.routing_tables import KernelRoutes
from tcpcryptd.netio.kernel.sendmmsg import ManySender
from tcpcryptd.wire.segment import ACK, make

KEYS = {4: bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81)), 6: bytes(range(32)) + bytes((0, 80, 0, 81))}
MARK = 0x30000000
WAY = 7 << 32
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def packets_of(version: int, *sizes: int) -> list[bytes]:
    return [
        make(KEYS[version], sequence=number, acknowledgment=0, flags=ACK, window=0, payload=bytes(size))
        for number, size in enumerate(sizes)
    ]


class FakeRoutes(KernelRoutes):
    """Lead nowhere."""

    def __init__(self) -> None:
        pass

    def interface(self, _packet: bytes, _route: int) -> int:
        return 0


class FakeRaw(RawSocket):
    """A socket whose interfaces are all there."""

    def _bind(self, interface: int) -> None:
        self._interface = interface


class Rig:
    """Senders of both IP versions to one receiver."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours, self.receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ours = ours
        self.receiver.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.errors: list[int | None] = []
        self.refused: list[bytes] = []
        self.failures: list[int] = []
        """Errors that the next calls meet in the place of what they should do."""
        self.messages: list[tuple[bytes, bytes]] = []
        """Name and control message of each packet."""
        self.senders = {
            version: ManySender(FakeRaw(ours, version, MARK, FakeRoutes()), self.note) for version in (4, 6)
        }
        kernel = sendmmsg._sendmmsg

        def counted(descriptor: int, address: int, count: int, flags: int) -> int:
            if self.failures:
                ctypes.set_errno(self.failures.pop(0))
                return -1
            messages = (sendmmsg.Message * count).from_address(address)
            named = []
            for message in messages:
                header = message.header
                self.messages.append(
                    (
                        ctypes.string_at(header.name, header.name_length),
                        ctypes.string_at(header.control, header.control_length),
                    )
                )
                # A socket pair takes neither.
                named.append((header, header.name, header.name_length, header.control, header.control_length))
                header.name = header.control = None
                header.name_length = header.control_length = 0
            done = int(kernel(descriptor, address, count, flags))
            for header, *kept in named:
                header.name, header.name_length, header.control, header.control_length = kept
            return done

        monkeypatch.setattr(sendmmsg, "_sendmmsg", counted)

    def note(self, error: OSError, packet: bytes) -> None:
        self.errors.append(error.errno)
        self.refused.append(packet)

    def received(self) -> list[bytes]:
        packets = []
        while True:
            try:
                packets.append(self.receiver.recv(1 << 17))
            except BlockingIOError:
                return packets

    def close(self) -> None:
        self.ours.close()
        self.receiver.close()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    rig = Rig(monkeypatch)
    yield rig
    rig.close()


@VERSIONS
@pytest.mark.parametrize(
    "sizes",
    [
        (100,),
        (100, 100, 100),
        (100, 100, 30),
        (100, 130),
        (100, 100, 30, 90, 90, 10),
        (30, 100, 100, 100, 100),
        tuple(range(1, 60)),
        (1400,) * 200 + (7,),
        (60_000, 60_000, 60_000, 5),
    ],
    ids=lambda sizes: f"{len(sizes)} from {sizes[0]}",
)
def test_all_arrive_in_order_and_as_they_were(rig: Rig, version: int, sizes: tuple[int, ...]) -> None:
    packets = packets_of(version, *sizes)
    received: list[bytes] = []
    left = b"".join(packets)
    while left:
        # A datagram socket holds few packets; what it has no room for is handed back.
        left = rig.senders[version].send(left, 0)
        received += rig.received()
    assert received == packets
    assert rig.senders[version].sent == len(packets)
    assert rig.errors == []


@VERSIONS
def test_a_shorter_last_packet_does_not_shorten_the_next_ones(rig: Rig, version: int) -> None:
    for sizes in ((100, 100, 30), (100, 100, 100)):
        packets = packets_of(version, *sizes)
        assert rig.senders[version].send(b"".join(packets), 0) == b""
        assert rig.received() == packets


def messages_of(control: bytes) -> dict[tuple[int, int], bytes]:
    """Level and type of each control message, and its data."""
    found = {}
    while control:
        length, level, kind = struct.unpack_from("@Nii", control)
        found[level, kind] = control[16:length]
        control = control[-(-length // 8) * 8 :]
    return found


def test_the_destination_is_the_first_packets(rig: Rig) -> None:
    rig.senders[4].send(b"".join(packets_of(4, 10, 10)), 0)
    rig.senders[6].send(b"".join(packets_of(6, 10)), WAY)
    four, _, six = [name for name, _ in rig.messages]
    assert four == struct.pack("@H2x4s8x", socket.AF_INET, bytes((10, 0, 0, 2)))
    # With the protocol in the place of the port, and the scope of a link-local address.
    assert six == struct.pack("@H2s4x16sI", socket.AF_INET6, b"\0\6", bytes(range(16, 32)), 7)


@pytest.mark.parametrize(("way", "interface"), [(WAY, 7), (0, 0), (1 << 32, 0), (WAY | 5, 7)])
def test_the_way_is_the_connections(rig: Rig, way: int, interface: int) -> None:
    """Interface, unless it is the loopback one, source address, and mark bits of others."""
    for version in (4, 6):
        rig.senders[version].send(packets_of(version, 10)[0], way)
    four, six = [messages_of(control) for _, control in rig.messages]
    assert four.pop((0, 8)) == struct.pack("@i4s4x", interface, bytes((10, 0, 0, 1)))
    assert four.pop((0, 52)) == struct.pack("@i", 6)
    assert six.pop((41, 50)) == struct.pack("@16sI", bytes(range(16)), interface)
    marked = {(1, 36): struct.pack("@I", MARK | 5)} if way & 5 else {}
    assert four == six == marked


@VERSIONS
def test_a_kernel_that_does_not_take_the_protocol(rig: Rig, version: int) -> None:
    packets = packets_of(version, 100, 100, 30)
    rig.failures.append(errno.EINVAL)
    assert rig.senders[version].send(b"".join(packets), WAY) == b""
    assert rig.received() == packets
    assert rig.errors == []
    name, control = rig.messages[-1]
    assert (0, 52) not in messages_of(control)
    assert name[2:4] == bytes(2)


@VERSIONS
def test_an_interface_that_leads_nowhere(rig: Rig, version: int) -> None:
    """As when the route has changed since the connection's last packet: any other will do."""
    packets = packets_of(version, 100, 100, 30)
    rig.failures.append(errno.ENETUNREACH)
    assert rig.senders[version].send(b"".join(packets), WAY) == b""
    assert rig.received() == packets
    assert rig.errors == []
    rig.senders[version].send(packets[0], WAY)
    kind, where = ((0, 8), slice(0, 4)) if version == 4 else ((41, 50), slice(16, 20))
    interfaces = [messages_of(control)[kind][where] for _, control in rig.messages]
    assert interfaces == [bytes(4)] * 3 + [struct.pack("@i", 7)]


def test_what_fails_is_reported_and_the_rest_goes_on(rig: Rig) -> None:
    packets = packets_of(4, 100, 100, 100)
    rig.failures.append(errno.EPERM)
    assert rig.senders[4].send(b"".join(packets), 0) == b""
    assert rig.received() == packets[1:]
    assert (rig.errors, rig.senders[4].sent) == ([errno.EPERM], 2)
    assert rig.refused == packets[:1]


def test_what_has_no_room_is_handed_back(rig: Rig) -> None:
    packets = packets_of(4, 100, 100, 30)
    rig.failures.append(errno.EAGAIN)
    assert rig.senders[4].send(b"".join(packets), 0) == b"".join(packets)
    assert rig.errors == []
    assert rig.senders[4].send(b"".join(packets), 0) == b""
    assert rig.received() == packets
