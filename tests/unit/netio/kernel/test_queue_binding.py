"""How a queue is configured, against a socket pair whose other end answers."""

import errno
import socket
import struct

import pytest

from tcpcryptd.netio.errors import QueueError
from tcpcryptd.netio.kernel import flowtables, netlink
from tcpcryptd.netio.kernel.queue_binding import configure

PACKET = netlink.message(0x300, 0, 0, bytes(8))


class Kernel(socket.socket):
    """Answers each request with the next error number, after a packet."""

    def __init__(self, *errors: int) -> None:
        ours, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(fileno=ours.detach())
        self._errors = list(errors)
        self.requests: list[bytes] = []

    def setsockopt(self, *_: object) -> None:
        """A netlink socket's."""

    def send(self, request: bytes) -> int:  # type: ignore[override]
        self.requests.append(request)
        self._far.send(PACKET)
        sequence = request[8:12]
        self._far.send(struct.pack("=IHH4sIi", 20, 2, 0, sequence, 0, -self._errors.pop(0)))
        return len(request)


@pytest.fixture(autouse=True)
def _no_flowtable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flowtables, "flowtables", list)


def test_packets_that_come_meanwhile_are_kept() -> None:
    assert configure(Kernel(0), 1, 10, gso=False, tracked=True) == ([PACKET], True)
    assert configure(Kernel(0), 1, 10, gso=False, tracked=False) == ([PACKET], False)


def test_a_kernel_that_does_not_say_what_tracking_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is used without, unless there is a flowtable."""
    kernel = Kernel(errno.EOPNOTSUPP, 0)
    assert configure(kernel, 1, 10, gso=True, tracked=True) == ([PACKET], False)
    assert len(kernel.requests) == 2
    assert configure(Kernel(0), 1, 10, gso=True, tracked=False)[1] is False
    monkeypatch.setattr(flowtables, "flowtables", lambda: ["filter fast"])
    with pytest.raises(QueueError, match="filter fast"):
        configure(Kernel(errno.EOPNOTSUPP), 1, 10, gso=True, tracked=True)


@pytest.mark.parametrize("tracked", [False, True])
def test_a_kernel_that_refuses(tracked: bool) -> None:
    with pytest.raises(QueueError, match="whole packets"):
        configure(Kernel(errno.EINVAL), 1, 10, gso=False, tracked=tracked)
    with pytest.raises(QueueError, match="whole packets"):
        configure(Kernel(errno.EOPNOTSUPP, errno.EOPNOTSUPP), 1, 10, gso=False, tracked=tracked)
