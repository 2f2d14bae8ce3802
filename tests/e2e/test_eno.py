"""TCP-ENO and tcpcrypt between two hosts: what an application sees, and what is on the wire."""

import contextlib
import errno
import hashlib
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tcpcryptd.wire import options
from tests.e2e.harness import (
    MARKER,
    Capture,
    Host,
    Network,
    assert_plain,
    dialogue,
    echo_server,
    exchange,
    read_all,
    read_exactly,
    same_session,
    serve,
    wait_until,
)
from tests.e2e.harness.capture import KIND_CRYPT, KIND_MAC
from tests.e2e.test_firewalls import PORT as GUARDED_PORT
from tests.e2e.test_firewalls import guard
from tests.e2e.test_transfer import fetch, serve_files

FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
SESSION_ID_LENGTH = 33
REKEY_FRAME = b"\x01\x00\x11"
"""Control and clen of a frame with rekey = 1 and without data."""
REKEY_FRAME_LENGTH = 20
DATA = MARKER * 20_000


def start(network: Network, client: tuple[str, ...] = ("--protocol", "eno"), server: tuple[str, ...] = ()) -> None:
    """Daemons on both hosts; the server only answers, and does so in either protocol."""
    network.client.start_daemon(*client)
    network.server.start_daemon(*server)


@pytest.fixture
def eno(network: Network) -> Network:
    start(network)
    return network


def assert_framed(capture: Capture) -> None:
    """Frames were on the wire, behind SYNs with the ENO option, and never the marker."""
    segments = list(capture.segments())
    assert sum(len(segment.payload) for segment in segments) > 0
    syns = [segment for segment in segments if segment.flags & 0x02]
    assert syns
    assert all(KIND_CRYPT in segment.kinds() for segment in syns)
    assert KIND_MAC not in capture.kinds()
    assert not capture.contains(MARKER)


def identifier(network: Network, client: socket.socket) -> bytes:
    """The session ID, the same at both ends: that of RFC 8548 has 33 bytes."""
    return bytes.fromhex(same_session(network, client))


@FAMILIES
def test_http(eno: Network, directory: Path, family: int) -> None:
    page = (MARKER * 2000)[:65536]
    (directory / "page").write_bytes(page)
    serve_files(eno, directory)
    capture = eno.client.capture()
    fetch(eno, family, "page", directory / "fetched")
    capture.stop()
    assert (directory / "fetched").read_bytes() == page
    assert_framed(capture)
    assert not capture.contains(b"GET /page")


def test_100_megabytes_arrive_unchanged(eno: Network, directory: Path) -> None:
    data = random.Random(1).randbytes(100_000_000)
    (directory / "data").write_bytes(data)
    serve_files(eno, directory)
    fetch(eno, socket.AF_INET6, "data", directory / "fetched")
    with (directory / "fetched").open("rb") as fetched:
        assert hashlib.file_digest(fetched, "sha256").digest() == hashlib.sha256(data).digest()


def test_both_hosts_name_the_same_session(eno: Network) -> None:
    with dialogue(eno, echo_server) as first, dialogue(eno, echo_server) as second:
        assert exchange(first, MARKER) == exchange(second, MARKER)
        identifiers = {identifier(eno, first), identifier(eno, second)}
    assert len(identifiers) == 2
    assert {len(each) for each in identifiers} == {SESSION_ID_LENGTH}


def test_interactive(eno: Network) -> None:
    with dialogue(eno, echo_server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for key in MARKER * 10:
            client.sendall(bytes([key]))
            assert read_exactly(client, 1) == bytes([key])


def test_the_second_connection_resumes(eno: Network) -> None:
    for resumed in (False, True):
        with dialogue(eno, echo_server) as client:
            assert exchange(client, MARKER) == MARKER
            session = identifier(eno, client).hex()
            for host in (eno.client, eno.server):
                (row,) = [row for row in host.report() if row["session_id"] == session]
                assert row["resumed"] is resumed


def test_loopback(host: Host) -> None:
    host.start_daemon("--protocol", "eno")
    with serve(host.listen(0), echo_server) as port, host.connect("127.0.0.1", port) as client:
        assert exchange(client, DATA) == DATA
        assert len(bytes.fromhex(host.session_id(client))) == SESSION_ID_LENGTH


def test_jumbo_frames(make_pair: Callable[[int], Network]) -> None:
    network = make_pair(9000)
    start(network)
    with dialogue(network, echo_server) as client:
        assert exchange(client, DATA) == DATA
        identifier(network, client)


def test_an_interface_without_offloads(eno: Network) -> None:
    for host in (eno.client, eno.server):
        host.run(["ethtool", "-K", "eth0", "gso", "off", "gro", "off", "tso", "off"])
    capture = eno.server.capture()
    with dialogue(eno, echo_server) as client:
        assert exchange(client, DATA) == DATA
    capture.stop()
    assert_framed(capture)
    assert max(len(segment.payload) for segment in capture.segments()) <= 1460


def test_half_close(eno: Network) -> None:
    answer = random.Random(4).randbytes(1_000_000)

    def answer_after_the_end(connection: socket.socket) -> None:
        connection.sendall(hashlib.sha256(read_all(connection)).digest() + answer)

    with dialogue(eno, answer_after_the_end) as client:
        client.sendall(DATA)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == hashlib.sha256(DATA).digest() + answer


@pytest.mark.parametrize("size", [11, 2_000_000])
def test_server_speaks_first(eno: Network, size: int) -> None:
    data = random.Random(2).randbytes(size)
    with dialogue(eno, lambda connection: connection.sendall(data)) as client:
        assert read_all(client) == data


@pytest.mark.parametrize("aborted", [False, True], ids=["end", "reset"])
def test_end_and_reset_are_told_apart(eno: Network, aborted: bool) -> None:
    outcome: list[type[OSError] | bytes] = []

    def read_to_the_end(connection: socket.socket) -> None:
        try:
            outcome.append(read_all(connection))
        except OSError as error:
            outcome.append(type(error))

    with dialogue(eno, read_to_the_end) as client:
        identifier(eno, client)
        client.sendall(MARKER)
        if aborted:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        wait_until(lambda: outcome, "the server sees the end")
    assert outcome == [ConnectionResetError if aborted else MARKER]


@pytest.mark.parametrize("with_daemon", ["client", "server"])
def test_peer_without_daemon(network: Network, with_daemon: str) -> None:
    host = network.client if with_daemon == "client" else network.server
    host.start_daemon("--protocol", "eno")
    capture = network.client.capture()
    with dialogue(network, echo_server) as client:
        assert exchange(client, DATA) == DATA
        assert host.sessions() == []
    capture.stop()
    assert_plain(capture)


@pytest.mark.parametrize(
    ("offered", "answer", "length"),
    [
        ("eno", ("--protocol", "crypt"), SESSION_ID_LENGTH),
        ("crypt", ("--protocol", "eno"), 20),
        ("auto", ("--protocol", "eno"), SESSION_ID_LENGTH),
        ("eno", ("--protocol", "auto"), SESSION_ID_LENGTH),
    ],
)
def test_either_protocol_is_answered(network: Network, offered: str, answer: tuple[str, ...], length: int) -> None:
    start(network, ("--protocol", offered), answer)
    with dialogue(network, echo_server) as client:
        assert exchange(client, DATA) == DATA
        assert len(identifier(network, client)) == length


def test_an_offer_that_is_not_answered(network: Network) -> None:
    start(network, server=("--answer", "crypt"))
    capture = network.client.capture()
    with dialogue(network, echo_server) as client:
        assert exchange(client, DATA) == DATA
        assert network.client.sessions() == network.server.sessions() == []
    capture.stop()
    assert_plain(capture)


def rekeyings(capture: Capture) -> set[str]:
    """The hosts that have sent a frame with rekey = 1 and without data (RFC 8548, section 4.2)."""
    return {
        segment.source
        for segment in capture.segments()
        if segment.payload[-REKEY_FRAME_LENGTH:].startswith(REKEY_FRAME) and len(segment.payload) <= REKEY_FRAME_LENGTH
    }


def test_rekeying_in_a_transfer(eno: Network) -> None:
    with dialogue(eno, echo_server) as client:
        identifier(eno, client)
        local, remote = (":".join(map(str, end)) for end in (client.getsockname(), client.getpeername()))
        capture = eno.client.capture()
        sender = threading.Thread(target=client.sendall, args=(DATA * 10,), daemon=True)
        sender.start()
        eno.client.tcnetstat("--rekey", local, remote)
        assert read_exactly(client, len(DATA) * 10) == DATA * 10
        sender.join()
        wait_until(lambda: len(rekeyings(capture)) == 2, "both ends have new keys")
        assert exchange(client, DATA) == DATA
        capture.stop()
    assert not capture.contains(MARKER)


@pytest.mark.parametrize("setting", ["tcp_timestamps", "tcp_sack", "tcp_window_scaling"])
def test_without_an_extension_of_tcp(network: Network, setting: str) -> None:
    for host in (network.client, network.server):
        host.namespace.sysctl(f"net.ipv4.{setting}", 0)
    start(network)
    kind = {"tcp_timestamps": options.TIMESTAMP, "tcp_sack": options.SACK, "tcp_window_scaling": 3}[setting]
    capture = network.client.capture()
    with dialogue(network, echo_server) as client:
        assert exchange(client, DATA) == DATA
        identifier(network, client)
    capture.stop()
    assert_framed(capture)
    assert kind not in capture.kinds()


def urgent_byte(connection: socket.socket, found: list[bytes]) -> bool:
    """Appends the urgent byte once it is there; the kernel says that there is none, or that it is still to come."""
    with contextlib.suppress(OSError):
        found.append(connection.recv(1, socket.MSG_OOB | socket.MSG_DONTWAIT))
    return bool(found)


@pytest.mark.parametrize("inline", [False, True], ids=["out of band", "inline"])
def test_urgent_data(eno: Network, inline: bool) -> None:
    received: list[bytes] = []
    urgent: list[bytes] = []

    def read(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)
        connection.sendall(b"ready")
        data = read_exactly(connection, 3)
        if not inline:
            wait_until(lambda: urgent_byte(connection, urgent), "the urgent byte has come")
        received.append(data + read_all(connection))

    with dialogue(eno, read) as client:
        assert read_exactly(client, 5) == b"ready"
        client.sendall(b"abc")
        client.send(b"!", socket.MSG_OOB)
        client.sendall(b"def")
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: received, "the server has read all")
    assert received == [b"abc!def" if inline else b"abcdef"]
    assert urgent == ([] if inline else [b"!"])


def test_a_receiver_that_does_not_read_for_a_while(eno: Network) -> None:
    """The window closes, is probed, and opens again."""
    data = random.Random(5).randbytes(8_000_000)
    may_read: list[bool] = []
    digest: list[bytes] = []

    def read_late(connection: socket.socket) -> None:
        wait_until(lambda: may_read, "the window has been closed")
        digest.append(hashlib.sha256(read_all(connection)).digest())

    with dialogue(eno, read_late) as client:
        client.setblocking(False)
        sent = 0

        def fill() -> bool:
            nonlocal sent
            try:
                while sent < len(data):
                    sent += client.send(data[sent:])
            except BlockingIOError:
                pass
            return "persist" in eno.client.run(["ss", "-Htnoi", "dport", f"= {client.getpeername()[1]}"]).stdout

        wait_until(fill, "the window is probed")
        may_read.append(True)
        client.settimeout(30)
        client.sendall(data[sent:])
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: digest, "the server has read to the end", 20)
    assert digest == [hashlib.sha256(data).digest()]


def keep_alive(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
        client.setsockopt(socket.IPPROTO_TCP, option, seconds)


def test_keep_alive_is_answered_with_frames(eno: Network) -> None:
    with dialogue(eno, echo_server) as client:
        identifier(eno, client)
        capture = eno.client.capture()
        keep_alive(client)

        wait_until(lambda: len(rekeyings(capture)) == 2, "a keep-alive has made new keys")
        assert exchange(client, MARKER) == MARKER
        capture.stop()


def test_keep_alive_finds_a_peer_that_is_gone(eno: Network) -> None:
    with dialogue(eno, echo_server) as client:
        identifier(eno, client)
        keep_alive(client)
        eno.server.run(["ip", "link", "set", "eth0", "down"])
        with pytest.raises(OSError, match=r"timed out|No route") as raised:
            client.recv(1)
    assert raised.value.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH)


@FAMILIES
def test_the_path_becomes_narrower_in_a_transfer(path: Network, family: int) -> None:
    assert path.router
    start(path)
    with dialogue(path, echo_server, family=family) as client:
        assert exchange(client, DATA) == DATA
        # Both ends of the link: one that is too narrow for its neighbour swallows packets without a word.
        path.router.run(["ip", "link", "set", "eth1", "mtu", "1300"])
        path.server.run(["ip", "link", "set", "eth0", "mtu", "1300"])
        assert exchange(client, DATA) == DATA
        identifier(path, client)


@pytest.mark.parametrize("where", ["client", "server", "router"])
def test_stateful_firewall(path: Network, where: str) -> None:
    assert path.router
    hosts = {"client": (path.client, "INPUT"), "server": (path.server, "INPUT"), "router": (path.router, "FORWARD")}
    guard(*hosts[where])
    start(path)
    capture = path.client.capture()
    with dialogue(path, echo_server, port=GUARDED_PORT) as client:
        assert exchange(client, MARKER * 50_000) == MARKER * 50_000
        identifier(path, client)
    capture.stop()
    assert_framed(capture)


def test_address_translation(path: Network) -> None:
    assert path.router
    path.router.run(["iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE"])
    start(path)
    with dialogue(path, echo_server, port=GUARDED_PORT) as client:
        assert exchange(client, DATA) == DATA
        session = path.client.session_id(client)
        (at_server,) = path.server.sessions()
        assert at_server.session_id == session
        assert at_server.remote[0] == "10.69.2.254"
