"""Both ends of the short connections: `python -m bench.echo server|ADDRESS PORT COUNT BYTES`.

The client prints the seconds that all connections took together.
"""

import socket
import sys
import time


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += piece
    return data


def serve(port: int, count: int, size: int) -> None:
    with socket.create_server(("", port), backlog=64) as listener:
        for _ in range(count):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(receive(connection, size))
                connection.recv(1)


def ask(address: str, port: int, count: int, size: int) -> float:
    message = bytes(range(256))[:size].ljust(size, b".")
    start = time.perf_counter()
    for _ in range(count):
        with socket.create_connection((address, port), timeout=30) as connection:
            connection.sendall(message)
            if receive(connection, size) != message:
                raise ValueError("the echo differs")
    return time.perf_counter() - start


def main() -> None:
    who, port, count, size = sys.argv[1], *map(int, sys.argv[2:5])
    if who == "server":
        serve(port, count, size)
    else:
        print(ask(who, port, count, size))


if __name__ == "__main__":
    main()
