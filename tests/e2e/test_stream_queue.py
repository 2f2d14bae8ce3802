"""What the queue for stream connections gets, and what the kernel makes of verdicts on packets larger than the MTU."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tcpcryptd.core.verdict import ACCEPT, Action, ConnectionClass, Direction, Verdict
from tcpcryptd.netio.firewall.encrypted_sockets import end_encrypted_sockets
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets.queue import PacketQueue
from tcpcryptd.netio.queue_numbers import QueueNumbers
from tcpcryptd.wire.checksum import tcp_checksum
from tests.e2e.harness import FAMILIES, Host, Network, divert_as

MARKS = MarkScheme()
MTU = 1500
DATA = bytes(range(ord("a"), ord("z") + 1)) * 40_000
SECONDS = 30.0


class Capitals:
    """In place of the engine: turns the payload of one direction into capitals, and notes its packets' sizes."""

    def __init__(self, direction: Direction, connection_class: ConnectionClass) -> None:
        self.largest = 0
        self._direction = direction
        self._class = connection_class

    def handle(
        self, packet: bytes, direction: Direction, _now: float, diverted_as: ConnectionClass, _route: int
    ) -> Verdict:
        assert diverted_as is self._class
        header = 20 if packet[0] >> 4 == 4 else 40
        segment = bytearray(packet[header:])
        start = segment[12] >> 4 << 2
        if direction is not self._direction or len(segment) == start:
            return *ACCEPT[:2], self._class
        self.largest = max(self.largest, len(packet))
        segment[start:] = segment[start:].upper()
        segment[16:18] = bytes(2)
        addresses = packet[12:20] if header == 20 else packet[8:40]
        segment[16:18] = tcp_checksum(addresses, segment).to_bytes(2, "big")
        return Action.MODIFY, packet[:header] + segment, self._class


@contextmanager
def queue_of(host: Host, connection_class: ConnectionClass, engine: Capitals) -> Iterator[PacketQueue]:
    number = QueueNumbers().stream if connection_class is ConnectionClass.STREAM else QueueNumbers().encrypted
    with host.namespace.entered():
        queue = PacketQueue(
            number, connection_class, engine.handle, MARKS, gso=connection_class is ConnectionClass.STREAM
        )
    try:
        yield queue
    finally:
        queue.close()


def transfer(client: socket.socket, server: socket.socket, queue: PacketQueue) -> bytes:
    """What the server receives when the client sends DATA, while `queue` is served."""
    received = bytearray()

    def receive() -> None:
        while chunk := server.recv(1 << 20):
            received.extend(chunk)

    def send() -> None:
        client.sendall(DATA)
        client.shutdown(socket.SHUT_WR)

    threads = [threading.Thread(target=each, daemon=True) for each in (receive, send)]
    for thread in threads:
        thread.start()
    poll = select.poll()
    poll.register(queue, select.POLLIN)
    deadline = time.monotonic() + SECONDS
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        if poll.poll(50):
            queue.handle_ready()
    return bytes(received)


@FAMILIES
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("connection_class", [ConnectionClass.ENCRYPTED, ConnectionClass.STREAM])
def test_stream_connections_alone_come_in_large_packets(
    network: Network, family: int, direction: Direction, connection_class: ConnectionClass
) -> None:
    host = network.client if direction is Direction.OUT else network.server
    engine = Capitals(direction, connection_class)
    listener = network.server.listen(0, family)
    address = network.server.address(family)
    with listener, network.client.connect(address, listener.getsockname()[1]) as client:
        server, _ = listener.accept()
        server.settimeout(SECONDS)
        with server, queue_of(host, connection_class, engine) as queue:
            divert_as(host, connection_class)
            assert transfer(client, server, queue) == DATA.upper()
            assert (engine.largest > MTU) == (connection_class is ConnectionClass.STREAM)
            counters = queue.counters()
            assert counters["packets"] > 0
            assert not any(counters[name] for name in ("truncated", "exceptions", "verdict_errors"))


@FAMILIES
@pytest.mark.parametrize(
    ("connection_class", "ended"),
    [(ConnectionClass.PLAIN, False), (ConnectionClass.ENCRYPTED, True), (ConnectionClass.STREAM, True)],
)
def test_sockets_of_both_encrypted_classes_are_ended(
    host: Host, family: int, connection_class: ConnectionClass, ended: bool
) -> None:
    divert_as(host, connection_class)
    host.launch_rules("--remove")
    listener = host.listen(0, family)
    with listener, host.connect(host.address(family), listener.getsockname()[1]) as client:
        server, _ = listener.accept()
        with server, host.namespace.entered():
            # The first one's reset ends the other before its turn comes.
            assert (end_encrypted_sockets(MARKS) > 0) == ended
            assert (server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0) == ended
            assert (client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0) == ended
