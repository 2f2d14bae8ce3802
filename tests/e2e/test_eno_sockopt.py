"""The application interface with TCP-ENO, across real daemons."""

import errno
import socket

import pytest

from tcpcryptd import sockopt
from tcpcryptd.sockopt import SocketOption
from tests.e2e.harness import Host, Network, wait_until
from tests.e2e.harness.daemon import entry_point
from tests.e2e.test_sockopt import Api, At, at, error_of, forge_reset, talk

__all__ = ["at"]

HYBRID, P256, CHACHA, AES_256 = b"\x20\x41", b"\x21", b"\0\x10", b"\0\x02"
RSA = b"\x02\x04\x04"
Options = dict[SocketOption, object]


@pytest.fixture
def api(network: Network, at: At) -> Api:
    for host in network.hosts():
        host.start_daemon("--protocol", "eno")
    return Api(network, at)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_what_a_connection_tells(api: Api, family: int) -> None:
    client, server = api.network.client, api.network.server
    with api.connection(family=family) as (ours, theirs):
        here, there = api.info(client, ours), api.info(server, theirs)
        assert here.session_id is not None
        assert here.session_id == there.session_id
        assert (here.session_id[0], len(here.session_id)) == (0xA0, 33)
        assert (here.role, there.role) == ("A", "B")
        assert here.suite == "MLKEM768-X25519/AES-128-GCM"
        for host, sock in ((client, ours), (server, theirs)):
            assert api.get(host, sock, SocketOption.TCP_CRYPT_SESSID) == here.session_id
            assert api.get(host, sock, SocketOption.TCP_CRYPT_CONF) == (HYBRID, b"\0\x01")
            assert error_of(lambda: sockopt.getsockopt(sock, sockopt.TCP_CRYPT_PUBKEY)) == errno.ENODATA  # noqa: B023
            netstat = [(sock.getsockname()[:2], sock.getpeername()[:2], here.session_id)]
            assert api.get(host, sock, SocketOption.TCP_CRYPT_NETSTAT) == netstat
            shown = host.run([*entry_point("tcnetstat"), "--long"]).stdout.splitlines()
            assert len(shown) == 2
            assert shown[1][shown[0].index("Role")] == ("A" if host is client else "B")


def test_enable_and_support(api: Api) -> None:
    client, server, support = api.network.client, api.network.server, SocketOption.TCP_CRYPT_SUPPORT
    with api.connection(server={SocketOption.TCP_CRYPT_ENABLE: 0}) as (ours, _):
        assert not api.info(client, ours).encrypted
    with api.connection({support: 1}) as (ours, theirs):
        assert (api.info(client, ours).peer_aware, api.info(server, theirs).peer_aware) == (False, True)
    with api.connection({support: 2}) as (ours, theirs):
        talk(ours, theirs)
        assert "not aware" in (api.info(client, ours).reason or "")


def test_algorithms(api: Api) -> None:
    """Lists are in order, and can have those of the CRYPT protocol beside them."""
    conf = SocketOption.TCP_CRYPT_CONF
    wanted: Options = {SocketOption.TCP_CRYPT_PKCONF: [RSA, P256], SocketOption.TCP_CRYPT_CCONF: [CHACHA, AES_256]}
    with api.connection(wanted) as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        assert api.info(api.network.server, theirs).encrypted
        assert api.get(api.network.server, theirs, conf) == (P256, AES_256)
        assert api.get(api.network.client, ours, SocketOption.TCP_CRYPT_PKCONF) == (RSA, P256)
    with api.connection(wanted, {SocketOption.TCP_CRYPT_SCONF: [CHACHA], SocketOption.TCP_CRYPT_NOCACHE: 1}) as (
        ours,
        _,
    ):
        assert api.info(api.network.client, ours).encrypted
        assert api.get(api.network.client, ours, conf) == (P256, CHACHA)


def test_resumption_and_its_control(api: Api) -> None:
    client, server = api.network.client, api.network.server

    def resumed(ours: Options | None = None, theirs: Options | None = None, flush: Host | None = None) -> bool:
        with api.connection(ours, theirs) as (here, there):
            known = api.info(client, here)
            assert known.encrypted
            talk(here, there)
            if flush is not None:
                api.set(flush, here if flush is client else there, SocketOption.TCP_CRYPT_CACHE_FLUSH)
            return known.resumed

    no_cache: Options = {SocketOption.TCP_CRYPT_NOCACHE: 1}
    assert not resumed(no_cache)
    assert not resumed()
    assert resumed()
    assert not resumed(theirs=no_cache)
    assert not resumed()
    assert resumed(flush=client)
    assert not resumed()
    assert resumed(flush=server)
    assert not resumed()


def test_secure_reset(api: Api) -> None:
    with api.connection(server={SocketOption.TCP_CRYPT_SECURST: 1}) as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        assert api.get(api.network.server, theirs, SocketOption.TCP_CRYPT_SECURST) == 1
        forge_reset(api.network, ours)
        theirs.sendall(b"still here")
        assert ours.recv(100) == b"still here"


def test_new_keys_and_reset(api: Api) -> None:
    with api.connection() as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        api.set(api.network.client, ours, SocketOption.TCP_CRYPT_REKEY)
        talk(ours, theirs)
        api.set(api.network.server, theirs, SocketOption.TCP_CRYPT_RESET)
        for end in (ours, theirs):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


@pytest.mark.parametrize("passive", [1, 0])
def test_a_simultaneous_open(api: Api, passive: int) -> None:
    """Two kernels open to each other; it is encrypted when one application has set bit b (RFC 8547 section 4.2)."""
    client, server = api.network.client, api.network.server
    role = SocketOption.TCP_ENO_PASSIVE_ROLE
    for attempt in range(20):
        with client.namespace.socket(socket.AF_INET) as ours, server.namespace.socket(socket.AF_INET) as theirs:
            ports = 6000 + attempt, 7000 + attempt
            for host, sock, port, value in ((client, ours, ports[0], 0), (server, theirs, ports[1], passive)):
                sock.bind((host.ipv4, port))
                api.set(host, sock, role, value)
                assert api.get(host, sock, role) == value
                sock.setblocking(False)
            ours.connect_ex((server.ipv4, ports[1]))
            theirs.connect_ex((client.ipv4, ports[0]))
            outcome = [_settled(sock) for sock in (ours, theirs)]
            if outcome != [0, 0]:
                # One SYN was there before the other host had sent its own, and was refused.
                continue
            for sock in (ours, theirs):
                sock.settimeout(30)
            talk(ours, theirs)
            here, there = api.info(client, ours), api.info(server, theirs)
            assert here.encrypted == there.encrypted == bool(passive)
            if passive:
                assert here.session_id == there.session_id
                assert (here.role, there.role) == ("A", "B")
            return
    pytest.fail("the two SYNs never crossed")


def _settled(sock: socket.socket) -> int:
    """The error of a connect, once it is over."""
    found = []

    def over() -> bool:
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            sock.getpeername()
        except OSError:
            found.append(error)
            return bool(error)
        found.append(0)
        return True

    wait_until(over, "connect is over", 10)
    return found[-1]
