"""Small TCP servers and clients that run in the test process on sockets of a namespace."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from tests.e2e.harness.network import Network

CHUNK = 65536
LINGER_SECONDS = 5.0
ENDED_HERE = (ConnectionResetError, ConnectionAbortedError)
"""What an application gets whose own host's daemon ends: an RST or, where it missed, the end through the kernel."""

Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def serve(listener: socket.socket, handler: Handler) -> Iterator[int]:
    """Gives every connection to the handler in a thread of its own until the block ends; yields the port.

    A handler that meets a reset or a timeout just ends: the client's side of the test is where it shows.
    """
    accepted: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            handler(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connection.settimeout(listener.gettimeout())
            accepted.append(connection)
            threads.append(threading.Thread(target=handle, args=(connection,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        _shut(listener)
        acceptor.join(LINGER_SECONDS)
        for connection in accepted:
            _shut(connection)
        for thread in threads:
            thread.join(LINGER_SECONDS)
        listener.close()


def echo_server(connection: socket.socket) -> None:
    """Sends back what comes until the end of the stream."""
    while data := connection.recv(CHUNK):
        connection.sendall(data)


@contextlib.contextmanager
def dialogue(
    network: Network, handler: Handler = echo_server, *, family: int = socket.AF_INET, port: int = 0
) -> Iterator[socket.socket]:
    """A connection from the client host to a server on the server host, as the client's socket."""
    with (
        serve(network.server.listen(port, family), handler) as bound,
        network.client.connect(network.server.address(family), bound) as client,
    ):
        yield client


def _shut(any_socket: socket.socket) -> None:
    """Wakes whoever waits on the socket."""
    with contextlib.suppress(OSError):
        any_socket.shutdown(socket.SHUT_RDWR)


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """`size` bytes; raises EOFError when the stream ends before."""
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(min(CHUNK, size - len(data)))
        if not piece:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += piece
    return bytes(data)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the end of the stream."""
    data = bytearray()
    while piece := connection.recv(CHUNK):
        data += piece
    return bytes(data)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """Sends `data` to an echo server and returns as many bytes as were sent."""
    sender = threading.Thread(target=connection.sendall, args=(data,), daemon=True)
    sender.start()
    answer = read_exactly(connection, len(data))
    sender.join(LINGER_SECONDS)
    return answer


def noting_end(outcome: list[type[OSError] | bytes]) -> Handler:
    """A handler that reads to the end and notes all that came, or the kind of error that it met."""

    def handle(connection: socket.socket) -> None:
        try:
            outcome.append(read_all(connection))
        except OSError as error:
            outcome.append(type(error))

    return handle
