"""What the kernel says of real sockets, and what is asked of it."""

import contextlib
import errno
import os
import socket
import sys

import pytest

from tcpcryptd.netio.kernel import netlink, sock_diag
from tcpcryptd.netio.kernel.conntrack import Flow
from tcpcryptd.netio.kernel.sock_diag import (
    LISTEN,
    NOT_CONNECTED,
    Socket,
    can_destroy,
    destroy,
    find_socket,
    list_sockets,
)

SO_COOKIE = 57
FLOW = Flow(bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), b"\x80\x00", b"\x00\x50")


def cookie(of: socket.socket) -> int:
    return int.from_bytes(of.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), sys.byteorder)


def listed(family: int, of: socket.socket) -> Socket:
    (found,) = (each for each in list_sockets(family) if each.cookie == cookie(of))
    return found


@pytest.mark.parametrize(
    ("family", "listen_on", "connect_to"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "::ffff:127.0.0.1"),
    ],
)
def test_a_connection(family: int, listen_on: str, connect_to: str) -> None:
    with socket.socket(family) as listener, socket.socket(family) as client:
        listener.bind((listen_on, 0))
        listener.listen()
        client.connect((connect_to, listener.getsockname()[1]))
        (address, port), server_port = client.getsockname()[:2], listener.getsockname()[1]
        packed = socket.inet_pton(family, address)
        packed = packed[12:] if "." in address and family == socket.AF_INET6 else packed
        flow = Flow(packed, packed, port.to_bytes(2, "big"), server_port.to_bytes(2, "big"))
        found = listed(family, client)
        assert found.flow == flow
        assert found.user_id == os.geteuid()
        assert found.inode == os.fstat(client.fileno()).st_ino
        assert not found.is_remnant
        assert find_socket(flow) == found
        assert listed(family, listener).state == LISTEN
        connected = {each.cookie for each in list_sockets(family, sock_diag.ALL_STATES & ~NOT_CONNECTED)}
        assert cookie(client) in connected
        assert cookie(listener) not in connected


def test_what_time_wait_leaves() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        number = cookie(client)
        client.close()
        accepted.close()
        (found,) = (each for each in list_sockets(socket.AF_INET) if each.cookie == number)
        assert found.is_remnant
        assert found.inode == 0


def test_only_what_was_listed_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its cookie: where it is gone, the kernel would go on to a socket that listens."""
    requests: list[bytes] = []

    def transact(protocol: int, request: bytes) -> list[bytes]:
        assert protocol == 4
        requests.append(request)
        raise OSError(errno.ENOENT, "gone")

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        target = listed(socket.AF_INET, listener)
    monkeypatch.setattr(netlink, "transact", transact)
    assert not destroy(target)
    assert can_destroy()
    assert [request[4:6] for request in requests] == [(21).to_bytes(2, sys.byteorder)] * 2
    assert [int.from_bytes(request[-8:], sys.byteorder) for request in requests] == [target.cookie, 0]


@pytest.mark.skipif(sys.byteorder != "little", reason="expected bytes are written for little-endian hosts")
def test_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "transact", lambda _, request: [request])
    request = sock_diag._ask(20, socket.IPPROTO_TCP, sock_diag._family(FLOW), sock_diag._identity(FLOW, 3, 2**64 - 1))[
        0
    ]
    assert len(request) == 16 + 56
    assert request[4:6] == b"\x14\x00"
    assert request[16:18] == bytes((2, 6))
    assert request[24:28].hex() == "80000050"
    assert request[28:60] == bytes((10, 0, 0, 1)) + bytes(12) + bytes((10, 0, 0, 2)) + bytes(12)
    assert request[60:] == b"\x03\0\0\0" + b"\xff" * 8


@pytest.mark.parametrize(
    ("error", "able"), [(errno.ENOENT, True), (errno.EOPNOTSUPP, False), (errno.EINVAL, False), (errno.EPERM, None)]
)
def test_whether_sockets_can_be_ended(monkeypatch: pytest.MonkeyPatch, error: int, able: bool | None) -> None:
    def transact(_: int, __: bytes) -> list[bytes]:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(netlink, "transact", transact)
    with pytest.raises(OSError, match="not permitted") if able is None else contextlib.nullcontext():
        assert can_destroy() is able


def test_an_answer_that_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "transact", lambda _, __: [bytes(71)])
    assert list(list_sockets(socket.AF_INET)) == []
    assert find_socket(FLOW) is None
