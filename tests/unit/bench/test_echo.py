"""Both ends of the echo measurements."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from bench.echo import WARM_UP, echo, pingpong, receive, serve, short


@contextlib.contextmanager
def server(connections: int, size: int) -> Iterator[tuple[str, int]]:
    """The address of a server that has to end by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=serve, args=(listener, connections, size), daemon=True)
        thread.start()
        yield listener.getsockname()
        thread.join(10)
        assert not thread.is_alive()


def test_short_connections_are_as_many_as_asked() -> None:
    with server(3, 100) as (address, port):
        assert short(address, port, 3, bytes(100)) > 0
        # The server has served its three, and accepts no more.


def test_pingpong_uses_one_connection() -> None:
    with server(1, 32) as (address, port):
        assert pingpong(address, port, 2 * WARM_UP, bytes(32)) > 0


def test_receive_puts_pieces_together_and_notices_the_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"ab")
        theirs.sendall(b"cd")
        assert receive(ours, 4) == b"abcd"
        theirs.sendall(b"e")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError, match="1 of 2"):
            receive(ours, 2)


def test_a_wrong_echo_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"xyz")
        with pytest.raises(ValueError, match="differs"):
            echo(ours, b"abc")
