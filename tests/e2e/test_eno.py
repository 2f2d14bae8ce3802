"""TCP-ENO and tcpcrypt between two hosts: what an application sees, and what is on the wire."""

import errno
import socket
import threading

import pytest

from tests.e2e.harness import (
    MARKER,
    SESSION_ID_LENGTHS,
    Capture,
    Network,
    assert_stays_plain,
    dialogue,
    exchange,
    read_exactly,
    same_session,
    wait_until,
)

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


def test_the_second_connection_resumes(eno: Network) -> None:
    for resumed in (False, True):
        with dialogue(eno) as client:
            assert exchange(client, MARKER) == MARKER
            session = same_session(eno, client)
            for host in (eno.client, eno.server):
                (row,) = [row for row in host.report() if row["session_id"] == session]
                assert row["resumed"] is resumed


@pytest.mark.parametrize(
    ("offered", "answering", "spoken"),
    [("eno", "crypt", "eno"), ("crypt", "eno", "crypt"), ("auto", "eno", "eno"), ("eno", "auto", "eno")],
)
def test_either_protocol_is_answered(network: Network, offered: str, answering: str, spoken: str) -> None:
    start(network, ("--protocol", offered), ("--protocol", answering))
    with dialogue(network) as client:
        assert exchange(client, DATA) == DATA
        assert len(bytes.fromhex(same_session(network, client))) == SESSION_ID_LENGTHS[spoken]


def test_an_offer_that_is_not_answered(network: Network) -> None:
    start(network, server=("--answer", "crypt"))
    assert_stays_plain(network, data=DATA)


def rekeyings(capture: Capture) -> set[str]:
    """The hosts that have sent a frame with rekey = 1 and without data (RFC 8548, section 4.2)."""
    return {
        segment.source
        for segment in capture.segments()
        if segment.payload[-REKEY_FRAME_LENGTH:].startswith(REKEY_FRAME) and len(segment.payload) <= REKEY_FRAME_LENGTH
    }


def test_rekeying_in_a_transfer(eno: Network) -> None:
    with dialogue(eno) as client:
        same_session(eno, client)
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


def keep_alive(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
        client.setsockopt(socket.IPPROTO_TCP, option, seconds)


def test_keep_alive_is_answered_with_frames(eno: Network) -> None:
    with dialogue(eno) as client:
        same_session(eno, client)
        capture = eno.client.capture()
        keep_alive(client)

        wait_until(lambda: len(rekeyings(capture)) == 2, "a keep-alive has made new keys")
        assert exchange(client, MARKER) == MARKER
        capture.stop()


def test_keep_alive_finds_a_peer_that_is_gone(eno: Network) -> None:
    with dialogue(eno) as client:
        same_session(eno, client)
        keep_alive(client)
        eno.server.run(["ip", "link", "set", "eth0", "down"])
        with pytest.raises(OSError, match=r"timed out|No route") as raised:
            client.recv(1)
    assert raised.value.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH)
