"""Packets of any lengths in order, through a socket pair; that they arrive by a raw socket is tried in namespaces."""

import ctypes
import errno
import socket
from collections.abc import Iterator

import pytest

from tcpcryptd.netio import many as many_module
from tcpcryptd.netio.many import ManySender
from tcpcryptd.wire.segment import ACK, make

KEYS = {4: bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81)), 6: bytes(range(32)) + bytes((0, 80, 0, 81))}
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def packets_of(version: int, *sizes: int) -> list[bytes]:
    return [
        make(KEYS[version], sequence=number, acknowledgment=0, flags=ACK, window=0, payload=bytes(size))
        for number, size in enumerate(sizes)
    ]


class Rig:
    """Senders of both IP versions to one receiver."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours, self.receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ours = ours
        self.receiver.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.errors: list[int | None] = []
        self.failures: list[int] = []
        """Errors that the next calls meet in the place of what they should do."""
        self.messages: list[tuple[bytes, bytes]] = []
        """Name and control message of each packet."""
        self.senders = {
            version: ManySender(ours, version, lambda error: self.errors.append(error.errno)) for version in (4, 6)
        }
        kernel = many_module._sendmmsg

        def sendmmsg(descriptor: int, address: int, count: int, flags: int) -> int:
            if self.failures:
                ctypes.set_errno(self.failures.pop(0))
                return -1
            messages = (many_module._Message * count).from_address(address)
            for message in messages:
                header = message.header
                self.messages.append(
                    (
                        ctypes.string_at(header.name, header.name_length),
                        ctypes.string_at(header.control, header.control_length),
                    )
                )
                # A socket pair takes neither.
                header.name = header.control = None
                header.name_length = header.control_length = 0
            return int(kernel(descriptor, address, count, flags))

        monkeypatch.setattr(many_module, "_sendmmsg", sendmmsg)

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


def test_the_destination_is_the_first_packets(rig: Rig) -> None:
    rig.senders[4].send(b"".join(packets_of(4, 10, 10)), 0)
    rig.senders[6].send(b"".join(packets_of(6, 10)), 0)
    family = socket.AF_INET.to_bytes(2, "little")
    names = [name for name, _ in rig.messages]
    assert names[:2] == [family + bytes(2) + bytes((10, 0, 0, 2)) + bytes(8)] * 2
    assert names[2] == socket.AF_INET6.to_bytes(2, "little") + bytes(6) + bytes(range(16, 32)) + bytes(4)


def test_the_way_is_the_kernels(rig: Rig) -> None:
    """Interface and source, as the route of the packet in the queue had them; nothing without an interface."""
    rig.senders[4].send(packets_of(4, 10)[0], 7)
    rig.senders[6].send(packets_of(6, 10)[0], 7)
    rig.senders[4].send(packets_of(4, 10)[0], 0)
    (_, four), (_, six), (_, none) = rig.messages
    interface = (7).to_bytes(4, "little")
    assert four[16:24] == interface + bytes((10, 0, 0, 1))
    assert (int.from_bytes(four[:8], "little"), len(four)) == (28, 32)
    assert six[16:36] == bytes(range(16)) + interface
    assert (int.from_bytes(six[:8], "little"), len(six)) == (36, 40)
    assert none == b""


def test_what_fails_is_reported_and_the_rest_goes_on(rig: Rig) -> None:
    packets = packets_of(4, 100, 100, 100)
    rig.failures.append(errno.EPERM)
    assert rig.senders[4].send(b"".join(packets), 0) == b""
    assert rig.received() == packets[1:]
    assert (rig.errors, rig.senders[4].sent) == ([errno.EPERM], 2)


def test_what_has_no_room_is_handed_back(rig: Rig) -> None:
    packets = packets_of(4, 100, 100, 30)
    rig.failures.append(errno.EAGAIN)
    assert rig.senders[4].send(b"".join(packets), 0) == b"".join(packets)
    assert rig.errors == []
    assert rig.senders[4].send(b"".join(packets), 0) == b""
    assert rig.received() == packets
