import os
import socket

import pytest

from tcpcryptd.netio.kernel.sock_diag import bound_sockets, datagram_owner


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_who_sent_a_datagram(family: int) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(family, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        client.sendto(b"", ("127.0.0.1" if family == socket.AF_INET else "::ffff:127.0.0.1", port))
        _, sender = server.recvfrom(1)
        assert datagram_owner(sender, ("127.0.0.1", port)) == os.getuid()
        client.close()
        assert datagram_owner(sender, ("127.0.0.1", port)) is None


def test_who_has_bound_a_port() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address, port = listener.getsockname()
        (found,) = bound_sockets(address, port)
        assert found.user_id == os.getuid()
        assert found.cookie == int.from_bytes(listener.getsockopt(socket.SOL_SOCKET, 57, 8), "little")
        assert bound_sockets("0.0.0.0", port) == []
    assert bound_sockets(address, port) == []
