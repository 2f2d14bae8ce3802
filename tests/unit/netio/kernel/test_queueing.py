"""Whether the way out looks at sockets."""

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from tcpcryptd.netio.kernel import netlink, queueing
from tcpcryptd.netio.kernel.queueing import QueueingDisciplines, kinds


class Kernel:
    """Has one queueing discipline for each name."""

    def __init__(self) -> None:
        self.now = 100.0
        self.notices, self._changes = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.setblocking(False)
        self.names: list[bytes] | None = []
        self.asked = 0

    def monotonic(self) -> float:
        return self.now

    def change(self, times: int = 1) -> None:
        for _ in range(times):
            self._changes.send(b"notice")

    def close(self) -> None:
        self.notices.close()
        self._changes.close()

    def transact(self, _protocol: int, request: bytes) -> list[bytes]:
        ((kind, _, body),) = netlink.messages(request)
        assert (kind, len(body)) == (38, 20)
        self.asked += 1
        if self.names is None:
            raise PermissionError
        return [struct.pack("=BBHiIII", 0, 0, 0, 2, 0, 0, 0) + netlink.attribute(1, name) for name in self.names]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel = Kernel()
    monkeypatch.setattr(queueing, "time", kernel)
    monkeypatch.setattr(netlink, "transact", kernel.transact)
    monkeypatch.setattr(queueing, "subscribe", lambda: kernel.notices)
    yield kernel
    kernel.close()


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        ([], True),
        ([b"noqueue\0", b"mq\0", b"fq_codel\0"], True),
        ([b"fq_codel\0", b"mq\0", b"fq\0"], False),
        ([b"htb\0"], False),
        ([b"\xff\0"], False),
        ([b""], False),
        (None, False),
    ],
)
def test_all_of_them_have_to(kernel: Kernel, names: list[bytes] | None, alike: bool) -> None:
    kernel.names = names
    assert QueueingDisciplines().treat_alike() == alike


def test_the_kernel_is_asked_after_changes(kernel: Kernel) -> None:
    disciplines = QueueingDisciplines()
    assert disciplines.treat_alike()
    kernel.names = [b"fq\0"]
    kernel.now += 10
    assert disciplines.treat_alike()
    kernel.change(times=100)
    kernel.now += 9.9
    assert disciplines.treat_alike()
    for _ in range(3):
        kernel.now += 10
        assert not disciplines.treat_alike()
    # Once at first, and twice for more notices than are read at once.
    assert kernel.asked == 3


def test_the_kernel_is_asked_again_when_it_does_not_say(kernel: Kernel) -> None:
    kernel.names = None
    disciplines = QueueingDisciplines()
    assert not disciplines.treat_alike()
    kernel.names = []
    kernel.now += 10
    assert disciplines.treat_alike()


@pytest.mark.parametrize("when", ["subscribed", "read"])
def test_without_notices_the_kernel_is_asked_each_time(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    class Overrun:
        def recv(self, _size: int) -> bytes:
            raise OSError(errno.ENOBUFS, "")

    def subscribe() -> Overrun:
        if when == "subscribed":
            raise PermissionError
        return Overrun()

    monkeypatch.setattr(queueing, "subscribe", subscribe)
    disciplines = QueueingDisciplines()
    for _ in range(3):
        disciplines.treat_alike()
        kernel.now += 10
    assert kernel.asked == 3


def test_this_kernel_answers() -> None:
    assert "" not in kinds()
