"""Many messages at once, as one after the other."""

import socket

import pytest

from tcpcryptd.netio.kernel.recvmmsg import ManyReceiver


def test_all_come_in_order_and_as_they_were() -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, kernel:
        receiver = ManyReceiver(ours.fileno(), 4, 4096)
        assert receiver.receive(4) == 0
        messages = [bytes((number,)) * length for number, length in enumerate((1, 4096, 7, 2, 3, 5))]
        for each in messages:
            kernel.send(each)
        received = []
        for asked, expected in ((4, 4), (1, 1), (4, 1), (4, 0)):
            assert receiver.receive(asked) == expected
            received += [bytes(receiver.buffers[at][: receiver.lengths[at]]) for at in range(expected)]
        assert received == messages


def test_an_error_is_told() -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    receiver = ManyReceiver(ours.fileno(), 4, 4096)
    ours.close()
    kernel.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        receiver.receive(4)
