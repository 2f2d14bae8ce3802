"""Failures; that packets arrive is tried in namespaces."""

import errno
import socket

import pytest

from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio import injector as injector_module
from tcpcryptd.netio.errors import ExitCode, InjectorError
from tcpcryptd.netio.injector import Injector
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.wire.segment import RST, make

KEY = bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81))
KEY6 = bytes(15) + b"\x01" + bytes(15) + b"\x02" + bytes(4)


def packet_of(key: bytes) -> bytes:
    return make(key, sequence=1, acknowledgment=0, flags=RST, window=0)


class FakeSocket:
    def __init__(self, family: int, mark: int) -> None:
        self.family = family
        self.mark = mark
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.error: OSError | None = None

    def sendto(self, packet: bytes, destination: tuple[str, int]) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((packet, destination))

    def close(self) -> None:
        self.error = OSError(errno.EBADF, "closed")


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[FakeSocket]:
    made: list[FakeSocket] = []

    def open_(family: int, mark: int) -> FakeSocket:
        made.append(FakeSocket(family, mark))
        return made[-1]

    monkeypatch.setattr(injector_module, "_open", open_)
    return made


@pytest.mark.parametrize("direction", list(Direction))
def test_goes_to_its_destination_with_the_mark_of_its_direction(
    sockets: list[FakeSocket], direction: Direction
) -> None:
    injector = Injector(MarkScheme())
    injector.inject(direction, packet_of(KEY))
    injector.inject(direction, packet_of(KEY6))
    sent = [(each.mark, each.sent) for each in sockets if each.sent]
    mark = MarkScheme().of_injection(direction)
    assert sent == [
        (mark, [(packet_of(KEY), ("10.0.0.2", 0))]),
        (mark, [(packet_of(KEY6), ("::2", 0))]),
    ]
    assert injector.counters() == {"injected": 2, "injection_errors": 0}


@pytest.mark.parametrize("packet", [b"", b"\x45", b"\x60" * 20, b"\x00" * 60])
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
    def open_(family: int, mark: int) -> FakeSocket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return FakeSocket(family, mark)

    monkeypatch.setattr(injector_module, "_open", open_)
    injector = Injector(MarkScheme())
    injector.inject(Direction.OUT, packet_of(KEY))
    injector.inject(Direction.OUT, packet_of(KEY6))
    assert injector.counters() == {"injected": 1, "injection_errors": 1}


@pytest.mark.parametrize(("number", "code"), [(errno.EPERM, ExitCode.PERMISSION), (errno.ENOMEM, ExitCode.UNSUPPORTED)])
def test_no_raw_sockets(monkeypatch: pytest.MonkeyPatch, number: int, code: ExitCode) -> None:
    def open_(_family: int, _mark: int) -> FakeSocket:
        raise OSError(number, "no")

    monkeypatch.setattr(injector_module, "_open", open_)
    with pytest.raises(InjectorError) as raised:
        Injector(MarkScheme())
    assert raised.value.exit_code == code
