"""What the kernel has said lately of the MTU of paths."""

import pytest

from tcpcryptd.netio.kernel import path_mtu
from tcpcryptd.netio.kernel.path_mtu import RecentPathMtu


class Kernel:
    """Answers with one less each time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[bytes] = []

    def monotonic(self) -> float:
        return self.now

    def path_mtu(self, address: bytes) -> int | None:
        self.asked.append(address)
        return 1500 - len(self.asked)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(path_mtu, "time", kernel)
    monkeypatch.setattr(path_mtu, "path_mtu", kernel.path_mtu)
    return kernel


def test_the_kernel_is_asked_once_a_second_for_each_host(kernel: Kernel) -> None:
    recent = RecentPathMtu()
    assert [recent(b"\n\0\0\1"), recent(b"\n\0\0\2"), recent(b"\n\0\0\1")] == [1499, 1498, 1499]
    kernel.now += 0.9
    assert recent(b"\n\0\0\1") == 1499
    kernel.now += 0.2
    assert recent(b"\n\0\0\1") == 1497
    assert len(kernel.asked) == 3


def test_what_is_kept_is_bounded(kernel: Kernel) -> None:
    recent = RecentPathMtu()
    for number in range(3000):
        recent(number.to_bytes(4, "big"))
    assert len(recent._kept) <= 1024
