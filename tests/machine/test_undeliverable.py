"""A host whose firewall or routes let out what its kernel sends, and nothing that the daemon makes itself."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.flow_key import flow_key
from tcpcryptd.core.limits import UNREACHABLE_LIFETIME
from tcpcryptd.core.options import ClientMode, ConnectionOptions
from tcpcryptd.core.verdict import Direction
from tcpcryptd.wire.segment import ACK, make
from tests.machine.host import Host
from tests.machine.world import ALL, EACH_PROTOCOL, PORT, Suite, World, make_engine

SECONDS = 3.0
"""Virtual, for what would otherwise take a handshake's whole patience."""
REASON = "this host drops packets that the daemon sends to the peer"

WHERE = pytest.mark.parametrize("where", ["client", "server"])
WHAT = pytest.mark.parametrize("inwards", [False, True], ids=["outwards", "both ways"])
"""A policy for OUTPUT is about the loopback interface as well, unless a rule says otherwise."""


def world_of(suite: Suite, where: str, *, inwards: bool = False) -> tuple[World, Host]:
    world = World.encrypting(suite)
    host: Host = getattr(world, where)
    host.refuses = lambda direction: inwards or direction is Direction.OUT
    return world, host


def assert_not_encrypted(world: World) -> None:
    for host in world.hosts:
        assert not host.negotiated, world.trace()
    world.assert_healthy()


def within(world: World, condition: Callable[[], bool]) -> bool:
    return world.clock.run_until(condition, SECONDS)


@WHAT
@pytest.mark.parametrize("speaks_first", ["client", "server"])
def test_a_server_that_cannot_send_init2_is_plain(speaks_first: str, inwards: bool) -> None:
    world, server = world_of(ALL, "server", inwards=inwards)
    ends = dict(zip(("client", "server"), world.connect(), strict=True))
    other = ends["server" if speaks_first == "client" else "client"]
    ends[speaks_first].write(b"<first>")
    assert within(world, lambda: bytes(other.received) == b"<first>"), world.trace()
    world.exchange(ends["client"], ends["server"])
    world.close(ends["client"], ends["server"])
    assert_not_encrypted(world)
    assert world.reasons(server) == ["INIT2 could not be sent"]
    world.talk(port=40_001)
    assert_not_encrypted(world)
    assert world.reasons(server)[1:] == [REASON]


@EACH_PROTOCOL
@WHERE
def test_what_has_keys_ends_at_once_and_the_next_is_plain(suite: Suite, where: str) -> None:
    if suite is ALL and where == "server":
        pytest.skip("has no keys then")
    world, host = world_of(suite, where)
    client, server = world.connect()
    ours = client if where == "client" else server
    assert within(world, lambda: ours.error is not None), world.trace()
    world.talk(port=40_001)
    assert world.reasons(host) == [REASON]
    assert len(host.negotiated) <= 1
    world.assert_healthy()
    assert host.daemon.counters()["undeliverable"] == 1


def test_the_next_is_encrypted_when_that_is_long_ago() -> None:
    world, server = world_of(ALL, "server")
    world.talk(port=40_000)
    server.refuses = lambda _direction: False
    world.talk(port=40_001)
    assert_not_encrypted(world)
    world.clock.run_for(UNREACHABLE_LIFETIME)
    client, accepted = world.connect(port=40_002)
    world.exchange(client, accepted)
    assert world.session_ids()[0] is not None


@EACH_PROTOCOL
def test_what_must_be_encrypted_fails(suite: Suite) -> None:
    required = EngineConfig(required=(ip_network("10.0.0.0/8"),))
    world = World(client=make_engine("c", suite, required), server=make_engine("s", suite))
    world.client.refuses = lambda direction: direction is Direction.OUT
    for port in (40_000, 40_001):
        client = world.open(port=port, data=b"<plaintext MARK>")
        assert within(world, lambda client=client: client.error is not None), world.trace()  # type: ignore[misc]
    world.assert_nothing_in_clear()


@WHERE
def test_a_client_of_the_exchange_that_cannot_send_init1_itself_is_plain(where: str) -> None:
    """With switched roles the passive opener is the client, and its kernel has no segment that could carry INIT1."""
    world, host = world_of(ALL, where)
    local = Endpoint(world.server.address, PORT)
    world.server.daemon.set_options(ConnectionOptions(client_mode=ClientMode.ALWAYS), local)
    world.talk(port=40_000)
    assert host.daemon.counters()["undeliverable"] == 1
    world.talk(port=40_001)
    assert_not_encrypted(world)
    assert world.reasons(host)[-1] == REASON


@EACH_PROTOCOL
@WHERE
def test_an_open_connection_goes_on(suite: Suite, where: str) -> None:
    """An outage, or rules that are loaded anew: as with plain TCP what was lost is sent again."""
    world, client, server = World.opened(suite)
    host: Host = getattr(world, where)
    host.refuses = lambda _direction: True
    for _ in range(3):
        host.daemon.rekey(*(world.ends(client) if where == "client" else reversed(world.ends(client))))
        host.collect()
        world.exchange(client, server)
    world.close(client, server)
    world.assert_encrypted()


def test_an_open_connection_that_is_cut_off_ends_and_the_next_is_plain() -> None:
    """With `eno` it is left to the kernel to cut its packets (test_eno_segments.py)."""
    world, client, server = World.opened(ALL)
    engine = world.client.daemon
    key = flow_key(*world.ends(client))
    packet = make(key, sequence=1, acknowledgment=1, flags=ACK, window=1, payload=b"<sealed>")
    for _ in range(2):
        engine.handle_cut_off(packet, world.clock.now)
    world.client.collect()
    assert within(world, lambda: client.error is not None and server.error is not None), world.trace()
    assert engine.counters()["undeliverable"] == 1
    world.talk(port=40_001)
    assert world.reasons(world.client) == [REASON]
