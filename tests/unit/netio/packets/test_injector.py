"""Failures; that packets arrive is tried in namespaces."""

import errno

import pytest

from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio.errors import ExitCode, InjectorError
from tcpcryptd.netio.kernel.route import FORWARDED, INTERFACE_SHIFT
from tcpcryptd.netio.kernel.routing_tables import KernelRoutes
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets import injector as injector_module
from tcpcryptd.netio.packets.injector import Injector
from tcpcryptd.wire.segment import RST, make

KEY = bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81))
LINK_LOCAL = b"\xfe\x80" + bytes(13) + b"\x01\xfe\x80" + bytes(13) + b"\x02" + bytes(4)
KEY6 = bytes(15) + b"\x01" + bytes(15) + b"\x02" + bytes(4)


def packet_of(key: bytes) -> bytes:
    return make(key, sequence=1, acknowledgment=0, flags=RST, window=0)


class FakeSocket:
    def __init__(self, version: int, mark: int) -> None:
        self.version = version
        self.mark = mark
        self.sent: list[tuple[bytes, int]] = []
        self.error: OSError | None = None

    def send(self, packet: bytes, route: int) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((packet, route))

    def close(self) -> None:
        self.error = OSError(errno.EBADF, "closed")


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[FakeSocket]:
    made: list[FakeSocket] = []

    def open_(version: int, mark: int, *_: object) -> FakeSocket:
        made.append(FakeSocket(version, mark))
        return made[-1]

    monkeypatch.setattr(injector_module, "open_raw", open_)
    monkeypatch.setattr(KernelRoutes, "is_local", lambda _self, _address, interface: not interface)
    return made


WAY = 7 << INTERFACE_SHIFT


@pytest.mark.parametrize(("direction", "way"), [(Direction.OUT, WAY | 5), (Direction.IN, 0)])
def test_goes_the_way_of_its_connection_with_the_mark_of_its_direction(
    sockets: list[FakeSocket], direction: Direction, way: int
) -> None:
    injector = Injector(MarkScheme())
    injector.inject(direction, packet_of(KEY), WAY | 5)
    injector.inject(direction, packet_of(KEY6), WAY | 5)
    sent = [(each.mark, each.version, each.sent) for each in sockets if each.sent]
    mark = MarkScheme().of_injection(direction)
    assert sent == [(mark, 4, [(packet_of(KEY), way)]), (mark, 6, [(packet_of(KEY6), way)])]
    assert injector.counters() == {"injected": 2, "injection_errors": 0}


@pytest.mark.parametrize(
    ("key", "local", "ways"),
    [
        (KEY, {0}, [0]),
        (KEY6, {0, 7}, [0]),
        # In a VRF.
        (KEY, {7}, [WAY]),
        (KEY6, {7}, [WAY]),
        (LINK_LOCAL, {0, 7}, [WAY]),
        # Taken from the host since.
        (KEY, set(), []),
        (KEY6, set(), []),
        (LINK_LOCAL, set(), []),
    ],
)
def test_what_is_for_the_local_kernel_gets_to_no_other(
    sockets: list[FakeSocket], monkeypatch: pytest.MonkeyPatch, key: bytes, local: set[int], ways: list[int]
) -> None:
    asked: list[bytes] = []

    def is_local(_self: KernelRoutes, address: bytes, interface: int) -> bool:
        asked.append(address)
        return interface in local

    monkeypatch.setattr(KernelRoutes, "is_local", is_local)
    injector = Injector(MarkScheme())
    injector.inject(Direction.IN, packet_of(key), WAY)
    assert [way for each in sockets for _, way in each.sent] == ways
    assert set(asked) == {key[4:8] if key == KEY else key[16:32]}
    assert injector.errors == ({} if ways else {"EADDRNOTAVAIL": 1})


def test_a_host_behind_this_one_gets_pieces_that_fit(
    sockets: list[FakeSocket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(injector_module, "fitting", lambda *_: [b"one", b"two"])
    Injector(MarkScheme()).inject(Direction.IN, packet_of(KEY), WAY | FORWARDED)
    assert [each.sent for each in sockets if each.sent] == [[(b"one", FORWARDED), (b"two", FORWARDED)]]


@pytest.mark.parametrize("packet", [b"", b"\x00" * 60])
def test_nonsense_is_counted(sockets: list[FakeSocket], packet: bytes) -> None:
    injector = Injector(MarkScheme())
    injector.inject(Direction.OUT, packet)
    assert injector.counters() == {"injected": 0, "injection_errors": 1}
    assert not any(each.sent for each in sockets)


def test_failure_is_counted_and_logged_once(sockets: list[FakeSocket], caplog: pytest.LogCaptureFixture) -> None:
    injector = Injector(MarkScheme())
    for each in sockets:
        each.error = BlockingIOError(errno.EAGAIN, "full")
    injector.inject(Direction.OUT, packet_of(KEY))
    injector.inject(Direction.IN, packet_of(KEY6))
    assert injector.errors == {"EAGAIN": 2}
    assert len(caplog.records) == 1


def test_kernel_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_(version: int, mark: int, *_: object) -> FakeSocket:
        if version == 6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return FakeSocket(version, mark)

    monkeypatch.setattr(injector_module, "open_raw", open_)
    injector = Injector(MarkScheme())
    injector.inject(Direction.OUT, packet_of(KEY))
    injector.inject(Direction.OUT, packet_of(KEY6))
    assert injector.counters() == {"injected": 1, "injection_errors": 1}


@pytest.mark.parametrize(("number", "code"), [(errno.EPERM, ExitCode.PERMISSION), (errno.ENOMEM, ExitCode.UNSUPPORTED)])
def test_no_raw_sockets(monkeypatch: pytest.MonkeyPatch, number: int, code: ExitCode) -> None:
    def open_(*_: object) -> FakeSocket:
        raise OSError(number, "no")

    monkeypatch.setattr(injector_module, "open_raw", open_)
    with pytest.raises(InjectorError) as raised:
        Injector(MarkScheme())
    assert raised.value.exit_code == code
