import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from tcpcryptd.netio.kernel.sock_diag import SocketOwners

ANY = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
End = tuple[str, int]


@pytest.fixture
def owners() -> Iterator[SocketOwners]:
    asking = SocketOwners()
    yield asking
    asking.close()


@contextlib.contextmanager
def connection(
    listen_on: str, connect_to: str, interface: bytes | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends, the opener's first."""
    family = socket.AF_INET6 if ":" in listen_on else socket.AF_INET
    with socket.socket(family) as listener, socket.socket(family) as client:
        listener.bind((listen_on, 0))
        listener.listen()
        if interface is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface)
        client.connect((connect_to, listener.getsockname()[1]))
        accepted, _ = listener.accept()
        with accepted:
            yield client, accepted


def ends(of: socket.socket) -> tuple[End, End]:
    return of.getsockname()[:2], of.getpeername()[:2]


@pytest.mark.parametrize("address", ANY.values())
def test_the_owner_of_each_end(owners: SocketOwners, address: str) -> None:
    with connection(address, address) as (client, accepted):
        assert owners.owner(*ends(client)) == os.geteuid()
        assert owners.owner(*ends(accepted)) == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket away")
def test_the_owner_is_the_sockets_not_the_callers(owners: SocketOwners) -> None:
    with connection("127.0.0.1", "127.0.0.1") as (client, accepted):
        os.fchown(client.fileno(), 12345, -1)
        assert owners.owner(*ends(client)) == 12345
        assert owners.owner(*ends(accepted)) == 0


def test_an_ipv6_socket_with_an_ipv4_connection(owners: SocketOwners) -> None:
    with connection("::", "::ffff:127.0.0.1") as (client, _):
        local, remote = ends(client)
        assert local[0] == "::ffff:127.0.0.1"
        assert owners.owner(local, remote) == os.geteuid()
        assert owners.owner(("127.0.0.1", local[1]), ("127.0.0.1", remote[1])) == os.geteuid()


def test_a_socket_bound_to_an_interface(owners: SocketOwners) -> None:
    with connection("127.0.0.1", "127.0.0.1", b"lo") as (client, _):
        assert owners.owner(*ends(client)) == os.geteuid()


def test_time_wait_has_no_owner(owners: SocketOwners) -> None:
    with connection("127.0.0.1", "127.0.0.1") as (client, accepted):
        flow = ends(client)
        client.close()
        accepted.close()
        assert owners.owner(*flow) is None


def test_a_listening_socket_is_no_connection(owners: SocketOwners) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert owners.owner(listener.getsockname(), ("127.0.0.1", 9)) is None


def test_what_is_not_accepted_yet_has_no_owner(owners: SocketOwners) -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        assert owners.owner(client.getpeername(), client.getsockname()) is None


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        (("127.0.0.1", 1), ("::1", 1)),
        (("nowhere", 1), ("127.0.0.1", 1)),
        (("127.0.0.1", 65536), ("127.0.0.1", 1)),
        (("127.0.0.1", 1), ("127.0.0.1", -1)),
    ],
)
def test_what_is_no_connection(owners: SocketOwners, local: End, remote: End) -> None:
    with pytest.raises(ValueError, match=r"famil|address|port"):
        owners.owner(local, remote)
