"""getsockopt and setsockopt against a control server whose engine is made up."""

import errno
import socket
from collections.abc import Callable

import pytest

from tcpcryptd import sockopt
from tcpcryptd.control.codec import Request
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.core.options import ClientMode, ConnectionOptions
from tcpcryptd.netio.clients.control_handlers import Caller
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.clients.socket_identity import SocketIdentity
from tcpcryptd.records.address import Address
from tcpcryptd.sockopt import SocketOption
from tests.unit.sockopt.conftest import SESSION, Daemon

LOCAL, REMOTE = Endpoint("192.0.2.1", 40000), Endpoint("192.0.2.2", 80)
ROOT, USER = Caller(0, 1.0), Caller(1000, 1.0)


def error_of(action: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as raised:  # noqa: PT011 (the errno is what is looked at)
        action()
    return raised.value.errno


@pytest.mark.parametrize(
    ("option", "value", "options"),
    [
        (sockopt.TCP_CRYPT_ENABLE, 0, ConnectionOptions(enabled=False)),
        (sockopt.TCP_CRYPT_SECURST, 1, ConnectionOptions(secure_reset=True)),
        (sockopt.TCP_CRYPT_NOCACHE, 1, ConnectionOptions(cache=False)),
        (sockopt.TCP_CRYPT_PKCONF, (b"abc",), ConnectionOptions(public_key_specs=(b"abc",))),
        (sockopt.TCP_CRYPT_CCONF, (b"abcd", b"efgh"), ConnectionOptions(client_ciphers=(b"abcd", b"efgh"))),
        (sockopt.TCP_CRYPT_SCONF, (b"abcd",), ConnectionOptions(server_ciphers=(b"abcd",))),
        (sockopt.TCP_CRYPT_PKCONF, (b"\x20\x41", b"\x23"), ConnectionOptions(public_key_specs=(b"\x20\x41", b"\x23"))),
        (sockopt.TCP_CRYPT_CCONF, (b"\0\x01",), ConnectionOptions(client_ciphers=(b"\0\x01",))),
        (sockopt.TCP_CRYPT_SCONF, (b"\0\x10", b"abcd"), ConnectionOptions(server_ciphers=(b"\0\x10", b"abcd"))),
        (sockopt.TCP_ENO_PASSIVE_ROLE, 1, ConnectionOptions(passive_role=True)),
        *(
            (option, 1, ConnectionOptions(client_mode=mode, resumption_decides_role=decides))
            for decides in (False, True)
            for mode in ClientMode
            for option in (SocketOption[f"TCP_CRYPT_CMODE_{mode.name}{'_NK' * decides}"],)
        ),
    ],
)
@pytest.mark.parametrize("kind", ["unbound", "bound", "listening"])
def test_options_before_the_connection(
    daemon: Daemon, kind: str, option: SocketOption, value: object, options: ConnectionOptions
) -> None:
    with socket.socket() as sock:
        if kind != "unbound":
            sock.bind(("127.0.0.1", 0))
        if kind == "listening":
            sock.listen()
        sockopt.setsockopt(sock, option, value)  # type: ignore[arg-type]
        local = Endpoint(*sock.getsockname())
        assert local.address == ("0.0.0.0" if kind == "unbound" else "127.0.0.1")
        assert daemon.engine.options(local) == options
        assert daemon.kept == [local]
        assert sockopt.getsockopt(sock, option) == value


def test_a_list_can_be_taken_back(daemon: Daemon) -> None:
    with socket.socket() as sock:
        sockopt.setsockopt(sock, sockopt.TCP_CRYPT_PKCONF, [b"abc"])
        sockopt.setsockopt(sock, sockopt.TCP_CRYPT_PKCONF, [])
        assert sockopt.getsockopt(sock, sockopt.TCP_CRYPT_PKCONF) == ()
        assert daemon.engine.endpoints_with_options() == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (sockopt.TCP_CRYPT_ENABLE, 2),
        (sockopt.TCP_CRYPT_ENABLE, -1),
        (sockopt.TCP_CRYPT_ENABLE, "1"),
        (sockopt.TCP_CRYPT_ENABLE, [b"abc"]),
        (sockopt.TCP_CRYPT_ENABLE, 1 << 40),
        (sockopt.TCP_CRYPT_SUPPORT, 3),
        (sockopt.TCP_CRYPT_CMODE_ALWAYS, 0),
        (sockopt.TCP_CRYPT_CACHE_FLUSH, 0),
        (sockopt.TCP_CRYPT_PKCONF, 1),
        (sockopt.TCP_CRYPT_PKCONF, b"abc"),
        (sockopt.TCP_CRYPT_PKCONF, [b"abcd"]),
        (sockopt.TCP_CRYPT_PKCONF, [b""]),
        (sockopt.TCP_CRYPT_CCONF, [b"abc"]),
        (sockopt.TCP_CRYPT_CCONF, [b"a"]),
        (sockopt.TCP_ENO_PASSIVE_ROLE, 2),
        (sockopt.TCP_CRYPT_SCONF, [b"abcd"] * 17),
    ],
)
def test_wrong_values(daemon: Daemon, option: SocketOption, value: object) -> None:
    with socket.socket() as sock:
        assert error_of(lambda: sockopt.setsockopt(sock, option, value)) == errno.EINVAL  # type: ignore[arg-type]


def test_no_such_option(daemon: Daemon) -> None:
    with socket.socket() as sock:
        assert error_of(lambda: sockopt.getsockopt(sock, 99)) == errno.ENOPROTOOPT
        assert error_of(lambda: sockopt.setsockopt(sock, 99, 1)) == errno.ENOPROTOOPT
        assert error_of(lambda: sockopt.setsockopt(sock, sockopt.TCP_CRYPT_SESSID, 1)) == errno.ENOPROTOOPT
        assert error_of(lambda: sockopt.getsockopt(sock, sockopt.TCP_CRYPT_RESET)) == errno.ENOPROTOOPT


def test_of_a_connection(daemon: Daemon, connected: socket.socket) -> None:
    daemon.learn(
        connected, role="server", public_key=b"K", public_key_spec=b"abc", symmetric_spec=b"abcd", peer_aware=True
    )
    assert sockopt.getsockopt(connected, sockopt.TCP_CRYPT_SESSID) == SESSION
    assert sockopt.getsockopt(connected, sockopt.TCP_CRYPT_PUBKEY) == (False, b"K")
    assert sockopt.getsockopt(connected, sockopt.TCP_CRYPT_CONF) == (b"abc", b"abcd")
    assert sockopt.getsockopt(connected, sockopt.TCP_CRYPT_SUPPORT) == 1
    sockopt.setsockopt(connected, sockopt.TCP_CRYPT_SECURST, 1)
    sockopt.setsockopt(connected, sockopt.TCP_CRYPT_RESET, 1)
    sockopt.setsockopt(connected, sockopt.TCP_CRYPT_REKEY, 1)
    sockopt.setsockopt(connected, sockopt.TCP_CRYPT_CACHE_FLUSH, 1)
    ends = Endpoint(*connected.getsockname()), Endpoint(*connected.getpeername())
    assert daemon.engine.kept == {ends: ConnectionOptions(secure_reset=True)}
    assert daemon.engine.actions == [("reset", *ends), ("rekey", *ends), ("flush", *ends)]
    for option in (sockopt.TCP_CRYPT_ENABLE, sockopt.TCP_ENO_PASSIVE_ROLE):
        assert error_of(lambda option=option: sockopt.setsockopt(connected, option, 0)) == errno.EISCONN  # type: ignore[misc]


@pytest.mark.parametrize(("resumed", "why"), [(True, "resumed"), (False, "not kept")])
def test_of_a_connection_with_tcp_eno(daemon: Daemon, connected: socket.socket, resumed: bool, why: str) -> None:
    daemon.learn(connected, role="B", resumed=resumed, public_key_spec=b"\x23", symmetric_spec=b"\0\x01")
    assert sockopt.info(connected).role == "B"
    assert sockopt.getsockopt(connected, sockopt.TCP_CRYPT_CONF) == (b"\x23", b"\0\x01")
    with pytest.raises(OSError, match=why) as raised:
        sockopt.getsockopt(connected, sockopt.TCP_CRYPT_PUBKEY)
    assert raised.value.errno == errno.ENODATA


CONNECTED_ONLY = [sockopt.TCP_CRYPT_SESSID, sockopt.TCP_CRYPT_PUBKEY, sockopt.TCP_CRYPT_CONF]


@pytest.mark.parametrize(
    ("state", "number"), [(ConnectionState.PLAIN, errno.ENODATA), (ConnectionState.HANDSHAKE, errno.EAGAIN)]
)
def test_of_a_connection_that_is_not_encrypted(
    daemon: Daemon, connected: socket.socket, state: ConnectionState, number: int
) -> None:
    daemon.learn(connected, state=state, session_id=None, reason="because")
    for option in CONNECTED_ONLY:
        assert error_of(lambda option=option: sockopt.getsockopt(connected, option)) == number  # type: ignore[misc]
    assert error_of(lambda: sockopt.setsockopt(connected, sockopt.TCP_CRYPT_RESET, 1)) == number
    if state is ConnectionState.PLAIN:
        assert error_of(lambda: sockopt.setsockopt(connected, sockopt.TCP_CRYPT_CACHE_FLUSH, 1)) == number


def test_of_an_unknown_connection(daemon: Daemon, connected: socket.socket) -> None:
    for option in (*CONNECTED_ONLY, sockopt.TCP_CRYPT_ENABLE, sockopt.TCP_CRYPT_SUPPORT):
        assert error_of(lambda option=option: sockopt.getsockopt(connected, option)) == errno.ENOENT  # type: ignore[misc]


def ask(daemon: Daemon, caller: Caller, command: str, **arguments: object) -> object:
    return list(daemon.handlers.handle(Request(1, command, arguments), caller))  # type: ignore[arg-type]


def test_by_the_ends_of_a_connection(daemon: Daemon) -> None:
    daemon.engine.known = [ConnectionInfo(LOCAL, REMOTE, ConnectionState.ENCRYPTED, session_id=SESSION)]
    ends = {"local": Address(*LOCAL), "remote": Address(*REMOTE), "option": SocketOption.TCP_CRYPT_SESSID}
    for caller in (ROOT, USER):
        assert ask(daemon, caller, "get_option", **ends) == [{"value": SESSION.hex()}]
    with pytest.raises(Refused) as refused:
        ask(daemon, Caller(1001, 1.0), "get_option", **ends)
    assert refused.value.errno == "EACCES"
    with pytest.raises(Refused) as refused:
        ask(daemon, ROOT, "get_option", **{**ends, "remote": Address("::1", 1)})
    assert refused.value.errno == "EINVAL"


def test_only_root_forgets_all_sessions(daemon: Daemon) -> None:
    passed = SocketIdentity(LOCAL, None, 1)
    flush = {"option": SocketOption.TCP_CRYPT_CACHE_FLUSH, "value": 1}
    with pytest.raises(Refused) as refused:
        ask(daemon, Caller(1000, 1.0, passed), "set_option", **flush)
    assert refused.value.errno == "EPERM"
    ask(daemon, Caller(0, 1.0, passed), "set_option", **flush)
    assert daemon.engine.actions == [("flush",)]


def test_who_has_a_connection_forgets_its_session(daemon: Daemon) -> None:
    daemon.engine.known = [ConnectionInfo(LOCAL, REMOTE, ConnectionState.ENCRYPTED, session_id=SESSION)]
    passed = SocketIdentity(LOCAL, REMOTE, 1)
    ask(daemon, Caller(1000, 1.0, passed), "set_option", option=SocketOption.TCP_CRYPT_CACHE_FLUSH, value=1)
    assert daemon.engine.actions == [("flush", LOCAL, REMOTE)]


def test_while_connecting(daemon: Daemon) -> None:
    caller = Caller(1000, 1.0, SocketIdentity(LOCAL, None, 1, connecting=True))
    for command, arguments, number in (
        ("get_option", {"option": SocketOption.TCP_CRYPT_SESSID}, "EAGAIN"),
        ("set_option", {"option": SocketOption.TCP_CRYPT_ENABLE, "value": 0}, "EISCONN"),
    ):
        with pytest.raises(Refused) as refused:
            ask(daemon, caller, command, **arguments)
        assert refused.value.errno == number


def test_without_a_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPCRYPTD_SOCKET", "/nonexistent/control.sock")
    with socket.socket() as sock:
        assert error_of(lambda: sockopt.setsockopt(sock, sockopt.TCP_CRYPT_ENABLE, 0)) == errno.ENOPROTOOPT
        assert sock.getsockname()[1] == 0
