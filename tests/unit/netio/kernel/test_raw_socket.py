"""What the kernel is told of a packet's way, and what is left out when it does not take that; `many` has the rest."""

import errno
import os
import socket
import struct

import pytest

from tcpcryptd.netio.kernel.raw_socket import IP_PKTINFO, IP_PROTOCOL, IPV6_PKTINFO, SO_BINDTOIFINDEX, RawSocket
from tcpcryptd.netio.kernel.route import FORWARDED, INTERFACE_SHIFT
from tcpcryptd.netio.kernel.routing_tables import KernelRoutes
from tcpcryptd.wire.segment import RST, make

KEYS = {4: bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81)), 6: bytes(range(32)) + bytes((0, 80, 0, 81))}
ADDRESSES = {4: "10.0.0.2", 6: "1011:1213:1415:1617:1819:1a1b:1c1d:1e1f"}
MARK = 0x30000000
WAY = 7 << INTERFACE_SHIFT
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def packet_of(version: int) -> bytes:
    return make(KEYS[version], sequence=1, acknowledgment=0, flags=RST, window=0)


class FakeRoutes(KernelRoutes):
    """All lead to one interface, where the socket is bound to none."""

    def __init__(self, found: int = 0) -> None:
        self.found = found

    def interface(self, _packet: bytes, _route: int) -> int:
        return self.found


class FakeSocket(socket.socket):
    """Knows interface 7 alone; `refusals` are what the next packets meet."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.interface = 0
        self.by_name = False
        self.refusals: list[int] = []
        self.sent: list[tuple[int, dict[tuple[int, int], bytes], tuple[object, ...]]] = []
        """Bound to which interface, with which control messages, whereto."""

    def setsockopt(self, level: int, option: int, value: object) -> None:  # type: ignore[override]
        assert (level, option) == (socket.SOL_SOCKET, SO_BINDTOIFINDEX)
        if value not in (0, 7):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        assert isinstance(value, int)
        self.interface = value

    def sendmsg(self, buffers, ancillary, flags, address):  # type: ignore[no-untyped-def,override]
        if self.refusals:
            number = self.refusals.pop(0)
            raise OSError(number, os.strerror(number))
        self.sent.append((self.interface, {(level, kind): data for level, kind, data in ancillary}, address))
        return sum(map(len, buffers))


def way_of(version: int, interface: int) -> dict[tuple[int, int], bytes]:
    if version == 4:
        return {(0, IP_PKTINFO): struct.pack("@i4s4x", interface, KEYS[4][:4])}
    return {(41, IPV6_PKTINFO): struct.pack("@16sI", KEYS[6][:16], interface)}


def protocol(version: int) -> dict[tuple[int, int], bytes]:
    return {(0, IP_PROTOCOL): struct.pack("@i", 6)} if version == 4 else {}


@VERSIONS
def test_interface_source_mark_and_protocol(version: int) -> None:
    with FakeSocket() as kernel:
        raw = RawSocket(kernel, version, MARK, FakeRoutes())
        raw.send(packet_of(version), WAY | 5 | FORWARDED)
        raw.send(packet_of(version), 0)
        marked = {(1, 36): struct.pack("@I", MARK | 5)}
        name = ADDRESSES[version]
        assert kernel.sent == [
            (7, way_of(version, 7) | protocol(version) | marked, (name, 0) if version == 4 else (name, 6, 0, 7)),
            (0, way_of(version, 0) | protocol(version), (name, 0) if version == 4 else (name, 6, 0, 0)),
        ]


@VERSIONS
@pytest.mark.parametrize(("found", "way", "bound"), [(7, WAY, 0), (8, WAY, 7), (7, WAY | FORWARDED, 7)])
def test_it_is_bound_where_that_makes_a_difference(version: int, found: int, way: int, bound: int) -> None:
    """Else rules of others that mark the packet could not lead it to another interface, as those of the connection."""
    with FakeSocket() as kernel:
        RawSocket(kernel, version, MARK, FakeRoutes(found)).send(packet_of(version), way)
        assert [interface for interface, _, _ in kernel.sent] == [bound]


@VERSIONS
def test_a_kernel_that_does_not_take_the_protocol_is_asked_once(version: int) -> None:
    with FakeSocket() as kernel:
        raw = RawSocket(kernel, version, MARK, FakeRoutes())
        kernel.refusals = [errno.EINVAL]
        for _ in range(2):
            raw.send(packet_of(version), WAY)
        name = ADDRESSES[version]
        assert kernel.sent == [(7, way_of(version, 7), (name, 0) if version == 4 else (name, 0, 0, 7))] * 2


@VERSIONS
@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENODEV])
def test_any_interface_is_better_than_none(version: int, number: int) -> None:
    """Its route may have changed since the connection's last packet; the next one is tried by that interface again."""
    with FakeSocket() as kernel:
        raw = RawSocket(kernel, version, MARK, FakeRoutes())
        kernel.refusals = [number]
        raw.send(packet_of(version), WAY)
        raw.send(packet_of(version), WAY)
        assert [interface for interface, _, _ in kernel.sent] == [0, 7]
        for (_, control, _), way in zip(kernel.sent, (0, 7), strict=True):
            assert control.items() >= way_of(version, way).items()


@VERSIONS
def test_an_interface_that_is_gone(version: int) -> None:
    with FakeSocket() as kernel:
        RawSocket(kernel, version, MARK, FakeRoutes()).send(packet_of(version), 8 << INTERFACE_SHIFT)
        assert [interface for interface, _, _ in kernel.sent] == [0]


@VERSIONS
@pytest.mark.parametrize("refusals", [[errno.EPERM], [errno.ENOBUFS], [errno.ENETUNREACH] * 2, [errno.EINVAL] * 3])
def test_what_stays_refused_is_the_callers(version: int, refusals: list[int]) -> None:
    with FakeSocket() as kernel:
        raw = RawSocket(kernel, version, MARK, FakeRoutes())
        kernel.refusals = list(refusals)
        with pytest.raises(OSError, match=os.strerror(refusals[-1])):
            raw.send(packet_of(version), WAY)
        assert (kernel.refusals, kernel.sent) == ([], [])


@pytest.mark.parametrize("packet", [b"\x45", b"\x60" * 20])
def test_nonsense(packet: bytes) -> None:
    with FakeSocket() as kernel, pytest.raises(ValueError, match=r"address|length"):
        RawSocket(kernel, packet[0] >> 4, MARK, FakeRoutes()).send(packet, 0)
