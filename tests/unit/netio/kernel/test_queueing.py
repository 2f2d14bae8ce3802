"""Whether the way out looks at sockets."""

import struct

import pytest

from tcpcryptd.netio.kernel import netlink, queueing
from tcpcryptd.netio.kernel.queueing import QueueingDisciplines, kinds


class Kernel:
    """Has one queueing discipline for each name."""

    def __init__(self) -> None:
        self.now = 100.0
        self.names: list[bytes] | None = []
        self.asked = 0

    def monotonic(self) -> float:
        return self.now

    def transact(self, _protocol: int, request: bytes) -> list[bytes]:
        ((kind, _, body),) = netlink.messages(request)
        assert (kind, len(body)) == (38, 20)
        self.asked += 1
        if self.names is None:
            raise PermissionError
        return [struct.pack("=BBHiIII", 0, 0, 0, 2, 0, 0, 0) + netlink.attribute(1, name) for name in self.names]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(queueing, "time", kernel)
    monkeypatch.setattr(netlink, "transact", kernel.transact)
    return kernel


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


def test_the_kernel_is_asked_now_and_then(kernel: Kernel) -> None:
    disciplines = QueueingDisciplines()
    assert disciplines.treat_alike()
    kernel.names = [b"fq\0"]
    kernel.now += 9.9
    assert disciplines.treat_alike()
    kernel.now += 0.2
    assert not disciplines.treat_alike()
    assert kernel.asked == 2


def test_this_kernel_answers() -> None:
    assert "" not in kinds()
