"""The application interface across real daemons: each option, with either protocol."""

import contextlib
import errno
import socket

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from tcpcryptd import sockopt
from tcpcryptd.sockopt import SocketOption
from tests.e2e.harness import BOTH_PROTOCOLS, MARKER, Host, Network, read_all, read_exactly, wait_until
from tests.e2e.harness.api import Api, Options, error_of, talk
from tests.e2e.harness.daemon import entry_point

RSA = bytes.fromhex("020404")
ORIGINAL_SUITE = bytes.fromhex("00010001")
HYBRID, P256, CHACHA, AES_256 = b"\x20\x41", b"\x21", b"\0\x10", b"\0\x02"
"""Identifiers of TEPs and AEAD algorithms."""
ENO = pytest.mark.parametrize("protocol", ["eno"])


@BOTH_PROTOCOLS
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_what_a_connection_tells(api: Api, family: int, protocol: str) -> None:
    client, server = api.network.client, api.network.server
    roles = ("client", "server") if protocol == "crypt" else ("A", "B")
    with api.connection(family=family) as (ours, theirs):
        here, there = api.info(client, ours), api.info(server, theirs)
        assert here.encrypted
        assert there.encrypted
        assert here.session_id == there.session_id
        assert here.fingerprint() == there.fingerprint()
        assert (here.role, there.role) == roles
        assert here.post_quantum
        assert there.post_quantum
        for host, sock, role in ((client, ours, roles[0]), (server, theirs, roles[1])):
            assert api.get(host, sock, SocketOption.TCP_CRYPT_SESSID) == here.session_id
            netstat = [(sock.getsockname()[:2], sock.getpeername()[:2], here.session_id)]
            assert api.get(host, sock, SocketOption.TCP_CRYPT_NETSTAT) == netstat
            shown = host.run([*entry_point("tcnetstat"), "--long"]).stdout.splitlines()
            assert len(shown) == 2
            assert shown[1][shown[0].index("Role") :].startswith(role)


def test_public_keys(api: Api) -> None:
    client, server = api.network.client, api.network.server
    with api.connection() as (ours, theirs):
        assert api.info(client, ours).encrypted
        assert api.info(server, theirs).encrypted
        keys = [api.get(host, sock, SocketOption.TCP_CRYPT_PUBKEY) for host, sock in ((client, ours), (server, theirs))]
        assert isinstance(keys[0], sockopt.PublicKey)
        assert isinstance(keys[1], sockopt.PublicKey)
        assert (keys[0].mine, keys[1].mine) == (True, False)
        assert keys[0][1] == keys[1][1]


@ENO
def test_what_a_connection_with_eno_tells(api: Api) -> None:
    client, server = api.network.client, api.network.server
    with api.connection() as (ours, theirs):
        here = api.info(client, ours)
        assert here.session_id is not None
        assert (here.session_id[0], len(here.session_id)) == (0xA0, 33)
        assert here.suite == "MLKEM768-X25519/AES-128-GCM"
        assert api.info(server, theirs).encrypted
        for host, sock in ((client, ours), (server, theirs)):
            assert api.get(host, sock, SocketOption.TCP_CRYPT_CONF) == (HYBRID, b"\0\x01")
            assert error_of(lambda: sockopt.getsockopt(sock, sockopt.TCP_CRYPT_PUBKEY)) == errno.ENODATA  # noqa: B023


@BOTH_PROTOCOLS
@pytest.mark.parametrize("side", ["client", "server"])
def test_enable(api: Api, side: str) -> None:
    with api.connection(**{side: {SocketOption.TCP_CRYPT_ENABLE: 0}}) as (ours, theirs):  # type: ignore[arg-type]
        host, sock = (api.network.client, ours) if side == "client" else (api.network.server, theirs)
        known = api.info(host, sock)
        assert not known.encrypted
        assert known.reason == "the application turned encryption off"
        assert not api.info(api.network.client, ours).encrypted
        assert api.get(host, sock, SocketOption.TCP_CRYPT_ENABLE) == 0
        assert error_of(lambda: api.get(host, sock, SocketOption.TCP_CRYPT_SESSID)) == errno.ENODATA
        with pytest.raises(sockopt.NotEncrypted, match="turned encryption off"):
            sockopt.require(sock)
    with api.connection() as (ours, _):
        assert api.info(api.network.client, ours).encrypted


def test_ipv4_on_an_ipv6_socket(api: Api) -> None:
    network = api.network
    for enable in (0, 1):
        with network.server.listen(0, socket.AF_INET6) as listener:
            api.set(network.server, listener, SocketOption.TCP_CRYPT_ENABLE, enable)
            with network.client.connect(network.server.ipv4, listener.getsockname()[1]) as ours:
                theirs, _ = listener.accept()
                with theirs:
                    assert theirs.getpeername()[0] == f"::ffff:{network.client.ipv4}"
                    assert api.info(network.server, theirs).encrypted == enable
                    assert api.info(network.client, ours).encrypted == enable


@BOTH_PROTOCOLS
def test_support(api: Api) -> None:
    support = SocketOption.TCP_CRYPT_SUPPORT
    with api.connection({support: 1}) as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        assert api.get(api.network.client, ours, support) == 0
        assert api.get(api.network.server, theirs, support) == 1
    with api.connection({support: 2}) as (ours, _):
        known = api.info(api.network.client, ours)
        assert not known.encrypted
        assert "not aware" in (known.reason or "")
    with api.connection({support: 2}, {support: 2}) as (ours, theirs):
        assert api.info(api.network.client, ours).peer_aware
        assert api.info(api.network.server, theirs).peer_aware


MODES = [option for option in SocketOption if "CMODE" in option.name]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_client_mode(api: Api, mode: SocketOption) -> None:
    """Each mode is kept, inherited and has its effect; the exchange has a client whatever the modes are."""
    with api.connection(server={mode: 1}) as (ours, theirs):
        switched = "ALWAYS" in mode.name
        assert api.info(api.network.client, ours).role == ("server" if switched else "client")
        assert api.info(api.network.server, theirs).role == ("client" if switched else "server")
        assert [api.get(api.network.server, theirs, each) for each in MODES] == [each is mode for each in MODES]
        talk(ours, theirs)
    with api.connection(client={mode: 1}) as (ours, _):
        known = api.info(api.network.client, ours)
        # The server does not switch this time: who never wants to be the client cannot agree. A resumed session may.
        assert known.encrypted == (mode is not SocketOption.TCP_CRYPT_CMODE_NEVER)
        if mode is SocketOption.TCP_CRYPT_CMODE_NEVER_NK:
            assert known.resumed


def test_mechanisms(api: Api) -> None:
    conf = SocketOption.TCP_CRYPT_CONF
    with api.connection(server={SocketOption.TCP_CRYPT_PKCONF: [RSA]}) as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        assert api.get(api.network.client, ours, conf)[0] == RSA  # type: ignore[index]
        assert api.get(api.network.server, theirs, SocketOption.TCP_CRYPT_PKCONF) == (RSA,)
    for side, option in (("client", SocketOption.TCP_CRYPT_CCONF), ("server", SocketOption.TCP_CRYPT_SCONF)):
        with api.connection(**{side: {option: [ORIGINAL_SUITE], SocketOption.TCP_CRYPT_NOCACHE: 1}}) as (ours, _):  # type: ignore[arg-type]
            assert api.info(api.network.client, ours).encrypted
            assert api.get(api.network.client, ours, conf)[1] == ORIGINAL_SUITE  # type: ignore[index]


@ENO
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


@BOTH_PROTOCOLS
def test_resumption_and_its_control(api: Api, protocol: str) -> None:
    client, server = api.network.client, api.network.server

    def resumed(ours: Options | None = None, theirs: Options | None = None, flush: Host | None = None) -> bool:
        with api.connection(ours, theirs) as (here, there):
            known = api.info(client, here)
            assert known.encrypted
            talk(here, there)
            if known.resumed and protocol == "crypt":
                assert error_of(lambda: sockopt.getsockopt(here, sockopt.TCP_CRYPT_PUBKEY)) == errno.ENODATA
                assert sockopt.getsockopt(here, sockopt.TCP_CRYPT_CONF).public_key_spec is None
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


def forge_reset(network: Network, ours: socket.socket, theirs: socket.socket) -> None:
    """Sends the server an RST that fits the client's next sequence number, without a MAC."""
    text = b"so that there is a segment"
    with network.client.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", 3))
        ours.sendall(text)
        assert read_exactly(theirs, len(text)) == text
        wire.setblocking(False)
        sent = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = Ether(wire.recv(65536))
                if TCP in frame and frame[TCP].sport == ours.getsockname()[1] and bytes(frame[TCP].payload):
                    sent.append(frame)
        # What was sent again can come before.
        frame = max(sent, key=lambda each: (each[TCP].seq - sent[0][TCP].seq + (1 << 31)) & 0xFFFFFFFF)
        segment = frame[TCP]
        forged = Ether(src=frame.src, dst=frame.dst) / IP(src=frame[IP].src, dst=frame[IP].dst)
        following = segment.seq + len(bytes(segment.payload))
        forged /= TCP(sport=segment.sport, dport=segment.dport, seq=following & 0xFFFFFFFF, flags="R")
        wire.send(bytes(forged))


@BOTH_PROTOCOLS
@pytest.mark.parametrize("secure", ["before", "later", "never"])
def test_secure_reset(api: Api, secure: str) -> None:
    before: Options = {SocketOption.TCP_CRYPT_SECURST: 1} if secure == "before" else {}
    with api.connection(server=before) as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        assert api.info(api.network.server, theirs).encrypted
        if secure == "later":
            api.set(api.network.server, theirs, SocketOption.TCP_CRYPT_SECURST)
        assert api.get(api.network.server, theirs, SocketOption.TCP_CRYPT_SECURST) == (secure != "never")
        forge_reset(api.network, ours, theirs)
        if secure == "never":
            with pytest.raises(ConnectionResetError):
                read_all(theirs)
        else:
            theirs.sendall(b"still here")
            assert ours.recv(100) == b"still here"


@BOTH_PROTOCOLS
def test_reset_and_new_keys(api: Api) -> None:
    with api.connection() as (ours, theirs):
        assert api.info(api.network.client, ours).encrypted
        api.set(api.network.client, ours, SocketOption.TCP_CRYPT_REKEY)
        ours.sendall(MARKER)
        assert theirs.recv(100) == MARKER
        api.set(api.network.server, theirs, SocketOption.TCP_CRYPT_RESET)
        for end in (ours, theirs):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


@ENO
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
