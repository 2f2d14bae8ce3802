"""Unmodified applications between two hosts with daemons, with either protocol."""

import contextlib
import hashlib
import json
import random
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tcpcryptd.wire import options as tcp_options
from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    SESSION_ID_LENGTHS,
    Network,
    assert_encrypted,
    assert_works,
    dialogue,
    echo_server,
    exchange,
    read_all,
    read_exactly,
    same_session,
    serve,
    wait_until,
)
from tests.e2e.harness.process import PATIENCE
from tests.e2e.harness.traffic import noting_end

HTTP_PORT = 8080


def serve_files(network: Network, directory: Path) -> None:
    """A web server for both families on the server host."""
    command = [sys.executable, "-m", "http.server", "--bind", "::", "--directory", str(directory), str(HTTP_PORT)]
    network.server.namespace.spawn(command)
    network.server.wait_listening(HTTP_PORT)


def fetch(network: Network, family: int, name: str, to: Path, timeout: float = 90.0) -> None:
    address = network.server.address(family)
    url = f"http://{f'[{address}]' if family == socket.AF_INET6 else address}:{HTTP_PORT}/{name}"
    network.client.run(["curl", "--silent", "--show-error", "--fail", "--output", str(to), url], timeout=timeout)


@FAMILIES
@BOTH_PROTOCOLS
def test_http(encrypted: Network, directory: Path, protocol: str, family: int) -> None:
    page = MARKER * 5000
    (directory / "page").write_bytes(page)
    serve_files(encrypted, directory)
    capture = encrypted.client.capture()
    fetch(encrypted, family, "page", directory / "fetched")
    capture.stop()
    assert (directory / "fetched").read_bytes() == page
    assert_encrypted(capture, protocol)
    # Not even the request line.
    assert not capture.contains(b"GET /page")


@pytest.mark.parametrize(("protocol", "family"), [("crypt", socket.AF_INET), ("eno", socket.AF_INET6)])
def test_100_megabytes_arrive_unchanged(encrypted: Network, directory: Path, family: int) -> None:
    data = random.Random(1).randbytes(100_000_000)
    (directory / "data").write_bytes(data)
    serve_files(encrypted, directory)
    fetch(encrypted, family, "data", directory / "fetched")
    with (directory / "fetched").open("rb") as fetched:
        assert hashlib.file_digest(fetched, "sha256").digest() == hashlib.sha256(data).digest()


@BOTH_PROTOCOLS
@pytest.mark.parametrize("options", [[], ["--reverse"], ["--bidir"]], ids=["up", "down", "both"])
def test_iperf3(encrypted: Network, options: list[str]) -> None:
    encrypted.server.namespace.spawn(["iperf3", "--server", "--one-off"])
    encrypted.server.wait_listening(5201)
    command = ["iperf3", "--client", encrypted.server.ipv4, "--bytes", "20M", "--json", *options]
    result = json.loads(encrypted.client.run(command).stdout)
    assert result["end"]["sum_received"]["bytes"] > 1_000_000


@BOTH_PROTOCOLS
def test_connections_are_accepted_in_the_order_of_opening(encrypted: Network) -> None:
    """One with a key exchange and one that resumes a session, one at once after the other, in either order.

    iperf3 --bidir tells its connections apart by that.
    """
    with encrypted.server.listen(7000) as listener:
        listener.settimeout(30 * PATIENCE)
        for _ in range(50):
            with contextlib.ExitStack() as stack:
                opened = []
                for _ in range(2):
                    sock = stack.enter_context(encrypted.client.namespace.socket(socket.AF_INET))
                    sock.connect((encrypted.server.ipv4, 7000))
                    sock.send(b"x")
                    opened.append(sock.getsockname())
                accepted = [listener.accept() for _ in opened]
                for sock, _ in accepted:
                    stack.enter_context(sock)
                assert [address for _, address in accepted] == opened


@BOTH_PROTOCOLS
def test_interactive(encrypted: Network) -> None:
    with dialogue(encrypted) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for key in MARKER * 10:
            client.sendall(bytes([key]))
            assert read_exactly(client, 1) == bytes([key])
        same_session(encrypted, client)


@BOTH_PROTOCOLS
def test_server_speaks_first(encrypted: Network) -> None:
    def mail_server(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        for answer in (b"250 hello\r\n", b"221 bye\r\n"):
            while not connection.recv(1000).endswith(b"\r\n"):
                pass
            connection.sendall(answer)

    with dialogue(encrypted, mail_server) as client:
        assert read_exactly(client, 11) == b"220 ready\r\n"
        client.sendall(b"EHLO example\r\n")
        assert read_exactly(client, 11) == b"250 hello\r\n"
        client.sendall(b"QUIT\r\n")
        assert read_all(client) == b"221 bye\r\n"


@BOTH_PROTOCOLS
def test_server_speaks_first_and_at_length(encrypted: Network) -> None:
    data = random.Random(2).randbytes(2_000_000)
    with dialogue(encrypted, lambda connection: connection.sendall(data)) as client:
        same_session(encrypted, client)
        assert read_all(client) == data


@BOTH_PROTOCOLS
@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_half_close(encrypted: Network, size: int) -> None:
    question = random.Random(3).randbytes(size)
    answer = random.Random(4).randbytes(1_000_000)

    def answer_after_the_end(connection: socket.socket) -> None:
        connection.sendall(hashlib.sha256(read_all(connection)).digest() + answer)

    with dialogue(encrypted, answer_after_the_end) as client:
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == hashlib.sha256(question).digest() + answer


@BOTH_PROTOCOLS
def test_server_closes_its_half_first(encrypted: Network) -> None:
    received: list[bytes] = []

    def close_then_read(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        received.append(read_all(connection))

    with dialogue(encrypted, close_then_read) as client:
        assert read_all(client) == b""
        client.sendall(MARKER * 1000)
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: received, "the server has read to the end")
    assert received == [MARKER * 1000]


@FAMILIES
@BOTH_PROTOCOLS
def test_both_hosts_name_the_same_session(encrypted: Network, protocol: str, family: int) -> None:
    with dialogue(encrypted, family=family) as first, dialogue(encrypted) as second:
        assert exchange(first, MARKER) == exchange(second, MARKER)
        identifiers = {same_session(encrypted, first), same_session(encrypted, second)}
    assert len(identifiers) == 2
    assert {len(bytes.fromhex(identifier)) for identifier in identifiers} == {SESSION_ID_LENGTHS[protocol]}


@BOTH_PROTOCOLS
def test_text_of_tcnetstat(encrypted: Network) -> None:
    with dialogue(encrypted) as client:
        session = same_session(encrypted, client)
        lines = encrypted.client.tcnetstat().stdout.splitlines()
        ends = [f"{address}:{port}" for address, port in (client.getsockname(), client.getpeername())]
    assert lines[0].split() == ["Local", "address", "Foreign", "address", "SessID"]
    assert [line.split() for line in lines[1:]] == [[*ends, session]]


@BOTH_PROTOCOLS
def test_jumbo_frames(make_pair: Callable[[int], Network], protocol: str) -> None:
    network = make_pair(9000)
    for host in network.hosts():
        host.start_daemon("--protocol", protocol)
    capture = network.client.capture()
    data = MARKER * 50_000
    with dialogue(network) as client:
        same_session(network, client)
        assert exchange(client, data) == data
    assert_encrypted(capture.stop(), protocol)
    assert max(len(segment.payload) for segment in capture.segments()) > 4016


@BOTH_PROTOCOLS
def test_an_interface_without_offloads(encrypted: Network, protocol: str) -> None:
    for host in encrypted.hosts():
        host.run(["ethtool", "-K", "eth0", "gso", "off", "gro", "off", "tso", "off"])
    capture = encrypted.server.capture()
    with dialogue(encrypted) as client:
        assert exchange(client, MARKER * 20_000) == MARKER * 20_000
    assert_encrypted(capture.stop(), protocol)
    assert max(len(segment.payload) for segment in capture.segments()) <= 1460


@BOTH_PROTOCOLS
def test_many_connections_at_once(encrypted: Network) -> None:
    with (
        serve(encrypted.server.listen(0), echo_server) as port,
        ThreadPoolExecutor(max_workers=40) as pool,
    ):

        def talk(seed: int) -> bool:
            data = random.Random(seed).randbytes(50_000)
            with encrypted.client.connect(encrypted.server.ipv4, port) as client:
                return exchange(client, data) == data

        assert all(pool.map(talk, range(80)))


@BOTH_PROTOCOLS
def test_short_connections_one_after_another(encrypted: Network) -> None:
    with serve(encrypted.server.listen(0), echo_server) as port:
        for number in range(200):
            with encrypted.client.connect(encrypted.server.ipv4, port) as client:
                assert exchange(client, number.to_bytes(100)) == number.to_bytes(100)


@BOTH_PROTOCOLS
@pytest.mark.parametrize("aborted", [False, True], ids=["end", "reset"])
def test_end_and_reset_are_told_apart(encrypted: Network, aborted: bool) -> None:
    outcome: list[type[OSError] | bytes] = []
    with dialogue(encrypted, noting_end(outcome)) as client:
        same_session(encrypted, client)
        client.sendall(MARKER)
        if aborted:
            # Closing with a linger time of 0 sends RST.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        wait_until(lambda: outcome, "the server sees the end")
    assert outcome == [ConnectionResetError if aborted else MARKER]


@FAMILIES
@BOTH_PROTOCOLS
def test_explicit_congestion_notification(encrypted: Network, protocol: str, family: int) -> None:
    for host in encrypted.hosts():
        host.namespace.sysctl("net.ipv4.tcp_ecn", 1)
    capture = assert_works(encrypted, protocol, family=family)
    # SYN with ECE and CWR, SYN ACK with ECE.
    assert [segment.flags for segment in capture.segments() if segment.flags & 0x02] == [0xC2, 0x52]


@BOTH_PROTOCOLS
@pytest.mark.parametrize("setting", ["tcp_timestamps", "tcp_sack", "tcp_window_scaling"])
def test_without_an_extension_of_tcp(encrypted: Network, protocol: str, setting: str) -> None:
    for host in encrypted.hosts():
        host.namespace.sysctl(f"net.ipv4.{setting}", 0)
    kind = {"tcp_timestamps": tcp_options.TIMESTAMP, "tcp_sack": tcp_options.SACK, "tcp_window_scaling": 3}[setting]
    capture = encrypted.client.capture()
    with dialogue(encrypted) as client:
        assert exchange(client, MARKER * 20_000) == MARKER * 20_000
        same_session(encrypted, client)
    assert_encrypted(capture.stop(), protocol)
    assert kind not in capture.kinds()


def urgent_byte(connection: socket.socket, found: list[bytes]) -> bool:
    """Appends the urgent byte once it is there; the kernel says that there is none, or that it is still to come."""
    with contextlib.suppress(OSError):
        found.append(connection.recv(1, socket.MSG_OOB | socket.MSG_DONTWAIT))
    return bool(found)


@BOTH_PROTOCOLS
@pytest.mark.parametrize("inline", [False, True], ids=["out of band", "inline"])
def test_urgent_data(encrypted: Network, inline: bool) -> None:
    received: list[bytes] = []
    urgent: list[bytes] = []

    def read(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)
        connection.sendall(b"ready")
        data = read_exactly(connection, 3)
        if not inline:
            wait_until(lambda: urgent_byte(connection, urgent), "the urgent byte has come")
        received.append(data + read_all(connection))

    with dialogue(encrypted, read) as client:
        assert read_exactly(client, 5) == b"ready"
        client.sendall(b"abc")
        client.send(b"!", socket.MSG_OOB)
        client.sendall(b"def")
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: received, "the server has read all")
    assert received == [b"abc!def" if inline else b"abcdef"]
    assert urgent == ([] if inline else [b"!"])


@BOTH_PROTOCOLS
def test_a_receiver_that_does_not_read_for_a_while(encrypted: Network) -> None:
    """The window closes, is probed, and opens again."""
    data = random.Random(5).randbytes(8_000_000)
    may_read: list[bool] = []
    digest: list[bytes] = []

    def read_late(connection: socket.socket) -> None:
        wait_until(lambda: may_read, "the window has been closed")
        digest.append(hashlib.sha256(read_all(connection)).digest())

    with dialogue(encrypted, read_late) as client:
        client.setblocking(False)
        sent = 0

        def fill() -> bool:
            nonlocal sent
            try:
                while sent < len(data):
                    sent += client.send(data[sent:])
            except BlockingIOError:
                pass
            return "persist" in encrypted.client.run(["ss", "-Htnoi", "dport", f"= {client.getpeername()[1]}"]).stdout

        wait_until(fill, "the window is probed")
        may_read.append(True)
        client.settimeout(30)
        client.sendall(data[sent:])
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: digest, "the server has read to the end", 20)
    assert digest == [hashlib.sha256(data).digest()]
