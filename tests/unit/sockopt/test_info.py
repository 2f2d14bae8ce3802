"""`info` and `require` against a control server whose engine is made up."""

import asyncio
import errno
import re
import socket
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd import sockopt
from tcpcryptd.core.event import ConnectionState
from tcpcryptd.records.connection_info import PeerInfo
from tests.unit.sockopt.conftest import SESSION, Daemon


def test_encrypted(daemon: Daemon, connected: socket.socket) -> None:
    daemon.learn(connected, suite="suite", role="client", resumed=True, peer_aware=True)
    expected = sockopt.Info(True, SESSION, "suite", "client", True, True, None)
    assert sockopt.info(connected) == sockopt.require(connected.fileno()) == expected


def test_not_encrypted(daemon: Daemon, connected: socket.socket) -> None:
    daemon.learn(connected, state=ConnectionState.PLAIN, session_id=None, reason="because")
    known = sockopt.info(connected)
    assert (known.encrypted, known.session_id, known.reason) == (False, None, "because")
    with pytest.raises(sockopt.NotEncrypted, match="because") as raised:
        sockopt.require(connected)
    assert raised.value.reason == "because"
    with pytest.raises(sockopt.NotEncrypted):
        known.fingerprint()


def test_who_the_other_host_is(daemon: Daemon, connected: socket.socket) -> None:
    daemon.learn(connected, peer=PeerInfo("authenticated", "web1", "SHA256:x"))
    for identity in ("web1", "SHA256:x"):
        assert sockopt.require(connected, identity=identity).peer_identity == "web1"
    with pytest.raises(sockopt.NotAuthenticated, match="it is web1, not web2"):
        sockopt.require(connected, identity="web2")
    assert asyncio.run(sockopt.async_require(connected, identity="web1")).peer_key == "SHA256:x"


def test_a_host_that_is_not_known(daemon: Daemon, connected: socket.socket) -> None:
    daemon.learn(connected, peer=PeerInfo("unknown", None, "SHA256:x", "nobody knows it"))
    assert sockopt.require(connected).peer_identity is None
    for identity in ("web1", "SHA256:x"):
        with pytest.raises(sockopt.NotAuthenticated, match="nobody knows it") as raised:
            sockopt.require(connected, identity=identity)
        assert raised.value.reason == "nobody knows it"


def test_a_host_that_shows_late_who_it_is(daemon: Daemon, connected: socket.socket) -> None:
    daemon.learn(connected)
    with pytest.raises(sockopt.NotAuthenticated, match="no identities"):
        sockopt.require(connected, 0.1, identity="web1")
    known = PeerInfo("authenticated", "web1", "SHA256:x")
    threading.Timer(0.1, lambda: daemon.learn(connected, peer=known)).start()
    assert sockopt.require(connected, 10, identity="web1").peer_identity == "web1"


def test_unknown_to_the_daemon(daemon: Daemon, connected: socket.socket) -> None:
    assert not sockopt.info(connected).encrypted
    with pytest.raises(sockopt.NotEncrypted, match="does not know"):
        sockopt.require(connected)


def test_it_waits_for_the_handshake(daemon: Daemon, connected: socket.socket) -> None:
    daemon.learn(connected, state=ConnectionState.HANDSHAKE, session_id=None, reason="the handshake is not over")
    before = daemon.engine.known[0]
    asked = threading.Event()

    def connection(*ends: object) -> object:
        asked.set()
        return daemon.engine.known[0]

    daemon.engine.connection = connection  # type: ignore[method-assign, assignment]
    assert sockopt.info(connected, 0.02).reason == "the handshake is not over"
    asked.clear()
    results: list[sockopt.Info] = []
    waiting = threading.Thread(target=lambda: results.append(sockopt.require(connected, 10)))
    waiting.start()
    assert asked.wait(10)
    daemon.engine.known = [replace(before, state=ConnectionState.ENCRYPTED, session_id=SESSION, reason=None)]
    waiting.join(10)
    assert [each.session_id for each in results] == [SESSION]


def test_daemon_not_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPCRYPTD_SOCKET", "/nonexistent/control.sock")
    with socket.socket() as sock:
        with pytest.raises(sockopt.DaemonNotRunning):
            sockopt.info(sock)
        with pytest.raises(sockopt.NotEncrypted, match="not running"):
            sockopt.require(sock)


def test_errors(daemon: Daemon) -> None:
    with socket.socket() as free, socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket() as closed:
        closed.close()
        for sock, number in ((free, errno.ENOTCONN), (datagrams, errno.EOPNOTSUPP), (closed, errno.EBADF)):
            with pytest.raises(OSError, match=r"\[Errno") as raised:
                sockopt.info(sock)
            assert raised.value.errno == number
    with pytest.raises(TypeError):
        sockopt.info("socket")  # type: ignore[arg-type]


def test_transports_and_streams(daemon: Daemon) -> None:
    async def ask() -> list[sockopt.Info]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            daemon.learn(writer.get_extra_info("socket"))
            results = [
                sockopt.info(writer),
                sockopt.info(writer.transport),
                await sockopt.async_info(writer),
                await sockopt.async_require(writer.transport),
            ]
            writer.close()
            await writer.wait_closed()
        return results

    assert [known.session_id for known in asyncio.run(ask())] == [SESSION] * 4


@given(st.binary(min_size=1, max_size=64))
def test_the_form_of_a_fingerprint(session_id: bytes) -> None:
    assert re.fullmatch(r"([a-z2-7]{4}-){4}[a-z2-7]{4}", sockopt.fingerprint(session_id))


def test_fingerprints_stay_what_they_are() -> None:
    # base32(sha256(b"tcpcryptd fingerprint 1" + bytes(range(20)))), by coreutils.
    assert sockopt.fingerprint(SESSION) == "wqwb-lboo-ymqc-cv57-zjfb"


def test_all_names_are_there() -> None:
    for name in sockopt.__all__:
        assert hasattr(sockopt, name)
