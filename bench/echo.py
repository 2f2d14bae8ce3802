"""Both ends of the echo measurements.

`echo.py server PORT CONNECTIONS BYTES` is one, `echo.py short|pingpong ADDRESS PORT COUNT BYTES` the other.

`short` opens COUNT connections one after the other with one echo on each; `pingpong` opens one connection with COUNT
echoes. Each prints the seconds that all of them took together.
"""

import socket
import sys
import time

TIMEOUT_SECONDS = 30
WARM_UP = 20


def receive(connection: socket.socket, size: int) -> bytes:
    """`size` bytes; raises EOFError when the stream ends before."""
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += piece
    return data


def send_at_once(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def serve(listener: socket.socket, connections: int, size: int) -> None:
    """Sends back messages of `size` bytes until the end of the stream, one connection after the other."""
    for _ in range(connections):
        connection, _ = listener.accept()
        with connection:
            send_at_once(connection)
            while first := connection.recv(size):
                connection.sendall(first + receive(connection, size - len(first)))


def echo(connection: socket.socket, message: bytes) -> None:
    connection.sendall(message)
    if receive(connection, len(message)) != message:
        raise ValueError("the echo differs")


def short(address: str, port: int, count: int, message: bytes) -> float:
    """Seconds for `count` connections: connect, send, receive, close."""
    start = time.perf_counter()
    for _ in range(count):
        with socket.create_connection((address, port), timeout=TIMEOUT_SECONDS) as connection:
            echo(connection, message)
    return time.perf_counter() - start


def pingpong(address: str, port: int, count: int, message: bytes) -> float:
    """Seconds for `count` round trips on a connection that is already in use."""
    with socket.create_connection((address, port), timeout=TIMEOUT_SECONDS) as connection:
        send_at_once(connection)
        for _ in range(WARM_UP):
            echo(connection, message)
        start = time.perf_counter()
        for _ in range(count):
            echo(connection, message)
        return time.perf_counter() - start


def main() -> None:
    if sys.argv[1] == "server":
        port, connections, size = map(int, sys.argv[2:5])
        with socket.create_server(("", port), backlog=64) as listener:
            serve(listener, connections, size)
    else:
        port, count, size = map(int, sys.argv[3:6])
        message = bytes(range(256))[:size].ljust(size, b".")
        print({"short": short, "pingpong": pingpong}[sys.argv[1]](sys.argv[2], port, count, message))


if __name__ == "__main__":
    main()
