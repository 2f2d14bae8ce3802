"""What waits for room, and in which order; that segments arrive is tried in namespaces."""

import errno
import select
import socket
import time

import pytest

from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio.errors import ExitCode, InjectorError
from tcpcryptd.netio.kernel.raw_socket import RawSocket
from tcpcryptd.netio.kernel.route import INTERFACE_SHIFT
from tcpcryptd.netio.kernel.routing_tables import KernelRoutes
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets import outlet as outlet_module
from tcpcryptd.netio.packets.outlet import LANES, MAX_REFUSED, PATIENCE, Outlet
from tcpcryptd.wire.segment import ACK, make

MARKS = MarkScheme()
KEY = bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81))
OTHER = KEY[:-1] + b"\x52"
INTERFACE = 7


def packet_of(number: int, key: bytes = KEY, size: int = 100) -> bytes:
    return make(key, sequence=number, acknowledgment=0, flags=ACK, window=0, payload=bytes(size))


class Rig:
    """Sockets that take some packets and no more, and become writable when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 1000
        self.sent: list[bytes] = []
        self.done: list[str] = []
        self.marks: list[int] = []
        self.ends: list[socket.socket] = []
        rig = self

        class FakeSender:
            def __init__(self, raw: RawSocket, _on_error: object) -> None:
                self.sent = 0
                self.fileno = raw.socket.fileno

            def send(self, packets: bytes, _route: int) -> bytes:
                while packets and rig.room:
                    length = int.from_bytes(packets[2:4], "big")
                    rig.sent.append(packets[:length])
                    packets = packets[length:]
                    rig.room -= 1
                    self.sent += 1
                return packets

        def open_(version: int, mark: int, _send_buffer: int, routes: KernelRoutes) -> RawSocket:
            # Always writable: readiness follows from what waits.
            ours, other = socket.socketpair()
            self.ends.append(other)
            self.marks.append(mark)
            return RawSocket(ours, version, mark, routes)

        monkeypatch.setattr(outlet_module, "ManySender", FakeSender)
        monkeypatch.setattr(outlet_module, "open_raw", open_)
        self.outlet = Outlet(MARKS)

    def send(self, name: str, *packets: bytes, interface: int = INTERFACE) -> bool:
        return self.outlet.send(b"".join(packets), interface << INTERFACE_SHIFT, lambda: self.done.append(name))

    def close(self) -> None:
        self.outlet.close()
        for end in self.ends:
            end.close()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def test_with_room_nothing_waits(rig: Rig) -> None:
    assert rig.send("one", packet_of(1), packet_of(2))
    assert rig.sent == [packet_of(1), packet_of(2)]
    assert (rig.outlet.waiting, rig.done) == (0, [])
    assert rig.outlet.counters() == {"segments_sent": 2, "segment_errors": 0, "segment_waits": 0}
    assert set(rig.marks) == {MARKS.of_injection(Direction.OUT)}
    rig.close()


def test_what_waits_goes_first_and_is_reported_when_it_has_gone(rig: Rig) -> None:
    rig.room = 1
    assert not rig.send("one", packet_of(1), packet_of(2))
    rig.room = 5
    assert not rig.send("two", packet_of(3, OTHER))
    assert rig.sent == [packet_of(1)]
    assert rig.outlet.waiting == 2
    rig.room = 1
    rig.outlet.handle_ready()
    assert (rig.sent[1:], rig.done) == ([packet_of(2)], ["one"])
    rig.room = 5
    rig.outlet.handle_ready()
    assert (rig.sent[2:], rig.done) == ([packet_of(3, OTHER)], ["one", "two"])
    assert rig.outlet.waiting == 0
    assert rig.outlet.counters()["segment_waits"] == 2
    assert rig.send("three", packet_of(4))
    rig.close()


def test_only_what_waits_makes_it_ready(rig: Rig) -> None:
    def ready() -> bool:
        return bool(select.select([rig.outlet.fileno()], [], [], 0)[0])

    assert not ready()
    rig.room = 0
    rig.send("one", packet_of(1))
    assert ready()
    rig.room = 1
    rig.outlet.handle_ready()
    assert not ready()
    rig.close()


def test_other_interfaces_do_not_wait(rig: Rig) -> None:
    rig.room = 0
    assert not rig.send("slow", packet_of(1))
    rig.room = 1
    assert rig.send("fast", packet_of(2, OTHER), interface=INTERFACE + 1)
    rig.room = 1
    assert not rig.send("same", packet_of(3, OTHER), interface=INTERFACE + LANES)
    rig.close()


def test_a_packet_knows_whom_it_would_overtake(rig: Rig) -> None:
    rig.room = 0
    rig.send("one", packet_of(1))
    way, another = INTERFACE << INTERFACE_SHIFT, INTERFACE + 1 << INTERFACE_SHIFT
    assert rig.outlet.is_waiting(packet_of(9), way)
    assert not rig.outlet.is_waiting(packet_of(9, OTHER), way)
    assert not rig.outlet.is_waiting(packet_of(9), another)
    rig.room = 1
    rig.outlet.handle_ready()
    assert not rig.outlet.is_waiting(packet_of(9), way)
    rig.close()


def test_a_kernel_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_(version: int, mark: int, _send_buffer: int, routes: KernelRoutes) -> RawSocket:
        if version == 6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return RawSocket(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), version, mark, routes)

    monkeypatch.setattr(outlet_module, "open_raw", open_)
    outlet = Outlet(MARKS)
    assert {version for version, _ in outlet._lanes} == {4}
    outlet.close()


def test_sockets_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_(*_: object) -> RawSocket:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(outlet_module, "open_raw", open_)
    with pytest.raises(InjectorError) as raised:
        Outlet(MARKS)
    assert raised.value.exit_code is ExitCode.UNSUPPORTED


def test_failures_are_counted_and_the_first_is_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        rig.outlet._count(OSError(errno.EPERM, "a firewall drops it"), packet_of(1))
    assert rig.outlet.counters()["segment_errors"] == 3
    (record,) = caplog.records
    assert record.getMessage().startswith("a segment could not be sent (EPERM: a firewall rule")
    rig.close()


class Refusals:
    """What was refused for good, and a clock."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.rig = rig
        self.reported: list[bytes] = []
        rig.outlet.on_refused = self.reported.append
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def refuse(self, packet: bytes, number: int = errno.EPERM) -> None:
        self.rig.outlet._count(OSError(number, "refused"), packet)


@pytest.fixture
def refusals(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Refusals:
    return Refusals(rig, monkeypatch)


def test_what_a_firewall_keeps_refusing_is_reported_once(refusals: Refusals) -> None:
    refusals.refuse(packet_of(1))
    refusals.refuse(packet_of(2))
    refusals.refuse(packet_of(1, OTHER))
    refusals.now += PATIENCE
    refusals.refuse(packet_of(2))
    refusals.refuse(packet_of(3))
    assert refusals.reported == [packet_of(2)]
    refusals.rig.close()


def test_what_a_firewall_refuses_for_a_moment_is_not(refusals: Refusals) -> None:
    refusals.refuse(packet_of(1))
    refusals.now += PATIENCE / 2
    refusals.rig.send("again", packet_of(1))
    refusals.now += PATIENCE / 2
    refusals.refuse(packet_of(2))
    assert refusals.reported == []
    refusals.rig.close()


def test_an_outage_is_not_a_refusal(refusals: Refusals) -> None:
    for _ in range(3):
        refusals.refuse(packet_of(1), errno.ENETUNREACH)
        refusals.now += PATIENCE
    assert refusals.reported == []
    refusals.rig.close()


def test_refusals_are_bounded(refusals: Refusals) -> None:
    for number in range(MAX_REFUSED + 10):
        refusals.refuse(packet_of(1, KEY[:-4] + number.to_bytes(4, "big")))
    assert len(refusals.rig.outlet._refused) == MAX_REFUSED
    refusals.rig.close()
