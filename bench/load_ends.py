"""Both ends of the load, one process each; the report is JSON on standard output.

`load_ends.py server PORT...` echoes messages of 100 bytes until it is ended.

`load_ends.py rate ADDRESS RATE SECONDS PORT...` opens connections at a fixed rate, whether those before are done or
not, with one echo on each. `load_ends.py hold ADDRESS COUNT PORT...` opens COUNT connections with an echo on each,
reports, waits for SIGUSR1, has another echo on each, reports and closes them.
"""

import errno
import itertools
import json
import select
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence

MESSAGE = bytes(range(100))
TIMEOUT_SECONDS = 60.0
"""A connection takes at most this long, and nothing goes on for longer after the last one was opened."""
LIMIT = 15_000
"""Connections that are open at once; what would be more is counted, not opened."""
OPENING = 64
"""Connections that are being opened at once, in `hold`."""
_TURN_SECONDS = 0.001


class Connection:
    """A client's: connects, sends the message and gets it back."""

    def __init__(self, address: str, port: int) -> None:
        self.began = time.monotonic()
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.socket.setblocking(False)
        self._missing = 0
        result = self.socket.connect_ex((address, port))
        if result not in (0, errno.EINPROGRESS):
            raise OSError(result, "connect")

    def ask(self) -> None:
        """Sends the message."""
        self._missing = len(MESSAGE)
        self.socket.send(MESSAGE)

    def advance(self, events: int) -> bool:
        """Whether the echo is complete; raises OSError when the connection failed."""
        if not self._missing:
            if failure := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(failure, "connect")
            self.ask()
            return False
        if not events & ~select.EPOLLOUT:
            return False
        piece = self.socket.recv(self._missing)
        if not piece:
            raise OSError(errno.ECONNRESET, "closed by the server")
        if piece != MESSAGE[-self._missing :][: len(piece)]:
            ends = f"{self.socket.getsockname()[:2]} {self.socket.getpeername()[:2]}"
            sys.stderr.write(f"wrong bytes at {len(MESSAGE) - self._missing}, {ends}: {piece.hex()}\n")
            raise OSError(errno.EBADMSG, "the echo differs")
        self._missing -= len(piece)
        return not self._missing


class Client:
    """Connections in progress, and what became of the others."""

    def __init__(self, address: str, ports: Sequence[int]) -> None:
        self._address = address
        self._ports = itertools.cycle(ports)
        self._epoll = select.epoll()
        self._pending: dict[int, Connection] = {}
        self.done: list[Connection] = []
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[float] = []

    @property
    def pending(self) -> int:
        """How many are not done."""
        return len(self._pending)

    def open(self) -> None:
        """One more."""
        try:
            connection = Connection(self._address, next(self._ports))
        except OSError as error:
            self._count(error)
            return
        self._pending[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def ask_again(self) -> None:
        """One more echo on each that was kept."""
        for connection in self.done:
            self._pending[connection.socket.fileno()] = connection
            connection.began = time.monotonic()
            connection.ask()
        self.done = []

    def turn(self, *, keep: bool) -> None:
        """What is ready; a connection that is done is kept open or closed."""
        for descriptor, events in self._epoll.poll(_TURN_SECONDS):
            connection = self._pending[descriptor]
            try:
                if not connection.advance(events):
                    continue
                self.outcomes["echoed"] += 1
                self.seconds.append(time.monotonic() - connection.began)
            except BlockingIOError:
                continue
            except OSError as error:
                self._count(error)
                connection.socket.close()
            else:
                if keep:
                    self.done.append(connection)
                else:
                    connection.socket.close()
            del self._pending[descriptor]

    def finish(self, *, keep: bool) -> None:
        """Until all are done or have taken too long."""
        limit = time.monotonic() + TIMEOUT_SECONDS
        while self._pending and time.monotonic() < limit:
            self.turn(keep=keep)
        self.outcomes["not done in time"] += len(self._pending)
        for connection in self._pending.values():
            connection.socket.close()
        self._pending.clear()

    def _count(self, error: OSError) -> None:
        self.outcomes[errno.errorcode.get(error.errno or 0, "unknown")] += 1

    def report(self) -> dict[str, object]:
        """Outcomes, and the seconds that a connection took: median, 99 %, longest."""
        times = sorted(self.seconds)
        at = [times[int((len(times) - 1) * share)] for share in (0.5, 0.99, 1.0)] if times else []
        return {"outcomes": dict(self.outcomes), "seconds": at}


def rate(address: str, per_second: float, seconds: float, ports: Sequence[int]) -> None:
    """Opens connections at a fixed rate, and reports."""
    client = Client(address, ports)
    began = time.monotonic()
    opened = 0
    while (elapsed := time.monotonic() - began) < seconds:
        for _ in range(int(elapsed * per_second) - opened):
            opened += 1
            if client.pending < LIMIT:
                client.open()
            else:
                client.outcomes["not opened"] += 1
        client.turn(keep=False)
    client.finish(keep=False)
    print(json.dumps(client.report() | {"all_done": time.monotonic() - began}))


def hold(address: str, count: int, ports: Sequence[int]) -> None:
    """Opens connections, keeps them and uses them again, with two reports."""
    client = Client(address, ports)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    began = time.monotonic()
    for _ in range(count):
        client.open()
        while client.pending >= OPENING:
            client.turn(keep=True)
    client.finish(keep=True)
    print(json.dumps(client.report() | {"all_done": time.monotonic() - began}), flush=True)
    signal.sigwait([signal.SIGUSR1])
    client.outcomes.clear()
    client.seconds.clear()
    client.ask_again()
    client.finish(keep=True)
    print(json.dumps(client.report()), flush=True)


def serve(ports: Sequence[int]) -> None:
    """Echoes until the process is ended."""
    epoll = select.epoll()
    listeners: dict[int, socket.socket] = {}
    connections: dict[int, socket.socket] = {}
    for port in ports:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
        listener.setblocking(False)
        listeners[listener.fileno()] = listener
        epoll.register(listener, select.EPOLLIN)
    while True:
        ready = deque(descriptor for descriptor, _ in epoll.poll())
        while ready:
            descriptor = ready.popleft()
            try:
                if descriptor in listeners:
                    connection, _ = listeners[descriptor].accept()
                    connection.setblocking(False)
                    connections[connection.fileno()] = connection
                    epoll.register(connection, select.EPOLLIN)
                elif data := connections[descriptor].recv(len(MESSAGE)):
                    connections[descriptor].send(data)
                else:
                    connections.pop(descriptor).close()
            except BlockingIOError:
                continue
            except OSError:
                if descriptor in connections:
                    connections.pop(descriptor).close()


def main(words: Sequence[str]) -> None:
    kind, *rest = words
    if kind == "server":
        serve([*map(int, rest)])
    elif kind == "rate":
        rate(rest[0], float(rest[1]), float(rest[2]), [*map(int, rest[3:])])
    else:
        hold(rest[0], int(rest[1]), [*map(int, rest[2:])])


if __name__ == "__main__":
    main(sys.argv[1:])
