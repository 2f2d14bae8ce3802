"""Two hosts, a link between them, and the questions that the tests ask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import cast

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import Disabled, IntegrityFailure, InternalError
from tcpcryptd.core.session_cache import SessionStore
from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.crypt import CryptConfig, CryptFactory
from tcpcryptd.crypto.key_pool import KeyPool
from tcpcryptd.crypto.keyring import KeyRing
from tcpcryptd.crypto.rsa_oaep import RsaOaep, RsaPrivateKey
from tcpcryptd.crypto.suites import (
    AES128_CTR_SEQIV_HMAC_SHA1,
    AES_256_GCM_SIV,
    AES_SIV_CMAC_256,
    MLKEM768_X25519_HPKE,
    RSA_2048,
    X25519_HPKE,
    PublicKeyAlgorithm,
    SymmetricSuite,
)
from tcpcryptd.eno import EnoConfig, EnoFactory
from tests.machine.clock import Clock
from tests.machine.endpoint import Behaviour, Socket
from tests.machine.host import Host
from tests.machine.link import CRYPT, MAC, Conditions, Filter, Link
from tests.machine.original import Original

PORT = 80
LIMIT = 120.0
"""Virtual seconds within which everything must have happened."""
MARKER = b"<plaintext MARK>"


@cache
def rsa_key() -> RsaPrivateKey:
    return RsaOaep().generate()


@dataclass(frozen=True)
class Suite:
    public_key: tuple[PublicKeyAlgorithm, ...] = (MLKEM768_X25519_HPKE, X25519_HPKE, RSA_2048)
    symmetric: tuple[SymmetricSuite, ...] = (AES_SIV_CMAC_256, AES_256_GCM_SIV, AES128_CTR_SEQIV_HMAC_SHA1)
    protocol: str = "crypt"
    """What is offered, auto for both; either is answered."""
    eno: EnoConfig = field(default_factory=EnoConfig)
    whole_packets: bool = False
    """Of `crypt`: whether its open connections' packets come before they are cut."""
    original: str | None = None
    """The host, client or server, that has the original daemon in the place of ours."""


ORIGINAL = Suite((RSA_2048,), (AES128_CTR_SEQIV_HMAC_SHA1,))
POST_QUANTUM = Suite((MLKEM768_X25519_HPKE,), (AES_SIV_CMAC_256,))
MODERN = Suite((X25519_HPKE,), (AES_SIV_CMAC_256,))
ALL = Suite()
FROM_ORIGINAL = Suite(original="client")
TO_ORIGINAL = Suite(original="server")
ENO = Suite(protocol="eno")
AUTO = Suite(protocol="auto")
EACH_PROTOCOL = pytest.mark.parametrize("suite", [ALL, ENO], ids=["crypt", "eno"])
EACH_SIDE = pytest.mark.parametrize("side", ["client", "server"])
OFFERS = {"auto": ("eno", "crypt")}


def make_engine(
    seed: object = 0,
    suite: Suite = ALL,
    config: EngineConfig | None = None,
    sessions: SessionStore | None = None,
    path_mtu: Callable[[bytes], int | None] = lambda _: None,
    kem_keys: KeyPool | None = None,
) -> Engine:
    """`kem_keys`: of `crypt` and, when given, of `eno`."""
    eno = suite.eno if kem_keys is None else replace(suite.eno, kem_keys=kem_keys)
    ring = KeyRing(RsaOaep())
    ring.replace(rsa_key())
    crypt = CryptConfig(
        ring,
        public_key_algorithms=suite.public_key,
        symmetric_suites=suite.symmetric,
        whole_packets=suite.whole_packets,
        kem_keys=kem_keys or KeyPool(0),
        authenticator=suite.eno.authenticator,
    )
    config = replace(config or EngineConfig(), offers=OFFERS.get(suite.protocol, (suite.protocol,)))
    return Engine(
        config,
        [CryptFactory(crypt), EnoFactory(eno)],
        random=Random(repr(seed)).randbytes,
        path_mtu=path_mtu,
        sessions=sessions,
    )


def make_original(seed: object = 0) -> Engine:
    """The model, which a host takes for an engine."""
    return cast("Engine", Original(rsa_key(), seed))


def text(size: int, prefix: bytes = b"") -> bytes:
    """Data of which every 32 bytes hold the marker."""
    return prefix + (MARKER * (size // len(MARKER) + 1))[:size]


class World:
    """A client and a server. An engine of None is a host without the daemon."""

    def __init__(
        self,
        *,
        client: Engine | None = None,
        server: Engine | None = None,
        filters: Sequence[Filter] = (),
        conditions: Conditions | None = None,
        seed: int = 1,
        version: int = 4,
    ) -> None:
        self.clock = Clock()
        self.link = Link(self.clock, seed, conditions)
        self.link.filters = list(filters)
        addresses = ("10.0.0.1", "10.0.0.2") if version == 4 else ("fd00::1", "fd00::2")
        self.client = Host(self.clock, self.link, "client", addresses[0], client)
        self.server = Host(self.clock, self.link, "server", addresses[1], server)
        self.server.stack.listen(PORT)

    @classmethod
    def encrypting(cls, suite: Suite = ALL, **arguments: object) -> "World":
        """Both hosts run a daemon."""
        engines = {
            name: make_original(name) if suite.original == name else make_engine(name[0], suite)
            for name in ("client", "server")
        }
        return cls(**engines, **arguments)  # type: ignore[arg-type]

    @classmethod
    def opened(cls, suite: Suite = ALL, **arguments: object) -> tuple["World", Socket, Socket]:
        """Both hosts run a daemon, and the two ends of a connection have had data from each other."""
        world = cls.encrypting(suite, **arguments)
        client, server = world.connect()
        world.exchange(client, server)
        return world, client, server

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.client, self.server

    def host(self, side: str) -> Host:
        """The client or the server, by its name."""
        return self.client if side == "client" else self.server

    @property
    def original(self) -> Original:
        """The original daemon of a world that has one."""
        for host in self.hosts:
            engine: object = host.engine
            if isinstance(engine, Original):
                return engine
        raise AssertionError("no original daemon")

    @property
    def ours(self) -> Engine:
        """Our daemon, of a world with the original on the other host; the client's where both are ours."""
        for host in self.hosts:
            engine: object = host.engine
            if isinstance(engine, Engine):
                return engine
        raise AssertionError("no daemon of ours")

    def open(
        self, *, port: int = 40_000, behaviour: Behaviour | None = None, isn: int | None = None, data: bytes = b""
    ) -> Socket:
        """The client connects, to send this data; the clock has not run yet."""
        client = self.client.stack.open(self.server.address, PORT, local_port=port, behaviour=behaviour, isn=isn)
        if data:
            client.write(data)
        return client

    def connect(self, *, port: int = 40_000, behaviour: Behaviour | None = None) -> tuple[Socket, Socket]:
        """The client connects and the server accepts: both ends."""
        before = len(self.server.stack.accepted)
        client = self.open(port=port, behaviour=behaviour)
        assert self.clock.run_until(lambda: len(self.server.stack.accepted) > before, LIMIT), self.trace()
        return client, self.server.stack.accepted[before]

    def exchange(self, client: Socket, server: Socket, size: int = 20_000) -> None:
        """Both sides send, and both get what was sent."""
        request, response = text(size, b"request "), text(size, b"response ")
        got_by_client, got_by_server = len(client.received), len(server.received)
        client.write(request)
        server.write(response)

        def done() -> bool:
            return (
                len(server.received) >= got_by_server + len(request)
                and len(client.received) >= got_by_client + len(response)
                and client.all_acknowledged
                and server.all_acknowledged
            )

        assert self.clock.run_until(done, LIMIT), self.trace()
        assert bytes(server.received[got_by_server:]) == request
        assert bytes(client.received[got_by_client:]) == response

    def close(self, client: Socket, server: Socket) -> None:
        """Both sides close, the client first."""
        client.shut_down()
        assert self.clock.run_until(lambda: server.peer_finished, LIMIT), self.trace()
        server.shut_down()
        assert self.clock.run_until(lambda: client.finished and server.finished, LIMIT), self.trace()
        assert (client.error, server.error) == (None, None)

    def talk(self, *, port: int = 40_000, behaviour: Behaviour | None = None, size: int = 20_000) -> None:
        """One connection from its SYN to both FINs."""
        client, server = self.connect(port=port, behaviour=behaviour)
        self.exchange(client, server, size)
        self.close(client, server)

    def session_ids(self) -> tuple[bytes | None, bytes | None]:
        """Of the latest negotiation, at either host."""
        client, server = (host.negotiated[-1].session_id if host.negotiated else None for host in self.hosts)
        return client, server

    def assert_encrypted(self) -> None:
        """Both engines have the same session, and no payload was on the wire that is not a message or sealed."""
        client, server = self.session_ids()
        assert client is not None, self.trace()
        assert client == server
        self.assert_nothing_in_clear()
        self.assert_healthy()

    @property
    def _protocol(self) -> str | None:
        return self.client.negotiated[-1].protocol if self.client.negotiated else None

    def assert_nothing_in_clear(self) -> None:
        for crossing in self.link.log:
            segment = crossing.segment
            assert MARKER not in segment.payload, f"{crossing}\n{self.trace()}"
            if segment.payload_length and self._protocol == "crypt":
                assert segment.option(MAC) is not None or segment.option(CRYPT) is not None, str(crossing)

    def assert_plain(self) -> None:
        """Both daemons, where there are any, have left the connection alone."""
        for host in self.hosts:
            assert not host.negotiated, self.trace()
            if isinstance(host.engine, Engine):
                assert host.engine.counters()["connections"] == 0, list(host.engine.connections())
                assert {entry.mark for entry in host.tracked.values()} == {ConnectionClass.PLAIN}
        self.assert_healthy()

    def assert_healthy(self) -> None:
        """No engine has met a bug of its own, or taken an honest segment for a forged one; no original has aborted."""
        for host in self.hosts:
            engine: object = host.engine
            assert not (isinstance(engine, Original) and engine.aborted), self.trace()
            bad = [event for event in host.events if isinstance(event, InternalError | IntegrityFailure)]
            assert bad == [], f"{host.name}: {bad}\n{self.trace()}"
            if isinstance(engine, Engine):
                # A bug of compiled code can look like a lack of memory.
                assert engine.counters().get("memory_shortages", 0) == 0, self.trace()

    def reasons(self, host: Host) -> list[str]:
        return [event.reason for event in host.events if isinstance(event, Disabled)]

    def ends(self, socket: Socket) -> tuple[Endpoint, Endpoint]:
        """The client's connection as the control socket names it."""
        port = int.from_bytes(socket.key[-4:-2], "big")
        return Endpoint(self.client.address, port), Endpoint(self.server.address, PORT)

    def trace(self) -> str:
        """Everything that was on the wire, for a failing test."""
        return "\n".join(map(str, self.link.log[:80]))
