"""Sessions that go on: resumption, rekeying, and who is the client of the exchange."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.options import ClientMode, ConnectionOptions
from tcpcryptd.crypto.suites import AES128_CTR_SEQIV_HMAC_SHA1, AES_256_GCM_SIV, RSA_2048, X25519_HPKE
from tcpcryptd.eno.constants import INIT1_MAGIC, INIT2_MAGIC
from tcpcryptd.netio.workers.sessions import SharedSessions
from tests.machine.endpoint import Socket
from tests.machine.link import (
    CRYPT,
    SYN_ALONE,
    Conditions,
    Crossing,
    all_of,
    any_packet,
    drop,
    drop_nth,
    has_flags,
    has_option,
    has_payload,
    strip,
)
from tests.machine.world import (
    EACH_SIDE,
    ENO,
    FROM_ORIGINAL,
    LIMIT,
    MODERN,
    ORIGINAL,
    PORT,
    TO_ORIGINAL,
    Suite,
    World,
    make_engine,
    text,
)

SUITES = pytest.mark.parametrize("suite", [ORIGINAL, MODERN, ENO], ids=["original", "modern", "eno"])
ALL_SUITES = pytest.mark.parametrize(
    "suite", [ORIGINAL, MODERN, ENO, FROM_ORIGINAL, TO_ORIGINAL], ids=["original", "modern", "eno", "from", "to"]
)
SYN = has_flags(2, 2)


def first_connection(world: World) -> bytes | None:
    """Leaves a session at both hosts."""
    client, server = world.connect(port=40_000)
    world.exchange(client, server, 2000)
    world.close(client, server)
    world.assert_encrypted()
    return world.session_ids()[0]


def talk(world: World, port: int) -> tuple[Socket, Socket]:
    ends = world.connect(port=port)
    world.exchange(*ends, 3000)
    return ends


def resumed(world: World) -> tuple[bool, bool]:
    """Whether the latest negotiation went on from an earlier session, at either host."""
    return world.client.negotiated[-1].resumed, world.server.negotiated[-1].resumed


def is_key_exchange(suite: Suite, crossing: Crossing) -> bool:
    payload = crossing.segment.payload
    if suite is ENO:
        return payload[:4] in (INIT1_MAGIC.to_bytes(4, "big"), INIT2_MAGIC.to_bytes(4, "big"))
    return bool(payload) and has_option(CRYPT)(crossing)


@ALL_SUITES
def test_each_connection_goes_on_from_the_one_before(suite: Suite) -> None:
    world = World.encrypting(suite)
    sessions = {first_connection(world)}
    for port in range(40_001, 40_004):
        began = len(world.link.log)
        talk(world, port)
        world.assert_encrypted()
        assert resumed(world) == (True, True)
        assert [each for each in world.link.log[began:] if is_key_exchange(suite, each)] == []
        sessions.add(world.session_ids()[0])
    assert len(sessions) == 4


@SUITES
@EACH_SIDE
def test_another_worker_goes_on_from_it(side: str, suite: Suite) -> None:
    """The peer, or this host, has another address: two engines share what they keep, and each secret serves once."""
    shared = SharedSessions(64, 3600.0)
    ours = [make_engine(name, suite, sessions=shared) for name in ("one", "two")]
    other = make_engine("other", suite)
    world = World(client=ours[0], server=other) if side == "client" else World(client=other, server=ours[0])
    host = world.host(side)
    sessions = {first_connection(world)}
    for number in range(1, 5):
        host.start_engine(ours[number % 2])
        talk(world, 40_000 + number)
        world.assert_encrypted()
        assert resumed(world) == (True, True)
        sessions.add(world.session_ids()[0])
        assert len(shared) == 1
    assert len(sessions) == 5
    assert shared.flush() == 1
    talk(world, 40_010)
    assert resumed(world) == (False, False)
    shared.close()


@ALL_SUITES
@pytest.mark.parametrize("first", ["client", "server"])
@pytest.mark.parametrize("lost", range(1, 7))
def test_a_packet_of_the_resumption_is_lost(suite: Suite, first: str, lost: int) -> None:
    world = World.encrypting(suite)
    first_connection(world)
    began = len(world.link.log)
    world.link.filters.append(drop_nth(any_packet, lost))
    client, server = world.connect(port=40_001)
    speaker, listener = (client, server) if first == "client" else (server, client)
    speaker.write(text(3000))
    assert world.clock.run_until(lambda: bytes(listener.received) == text(3000), LIMIT), world.trace()
    world.exchange(client, server, 1000)
    world.close(client, server)
    world.assert_encrypted()
    assert resumed(world) == (True, True)
    assert not any(is_key_exchange(suite, each) for each in world.link.log[began:])


@SUITES
@pytest.mark.parametrize("forgetful", ["client", "server"])
def test_one_side_has_forgotten_the_session(suite: Suite, forgetful: str) -> None:
    """The same handshake falls back to a key exchange, and leaves a session again."""
    world = World.encrypting(suite)
    first_connection(world)
    began = len(world.link.log)
    assert world.host(forgetful).daemon.flush_sessions() > 0
    world.close(*talk(world, 40_001))
    world.assert_encrypted()
    assert resumed(world) == (False, False)
    assert sum(SYN_ALONE(each) for each in world.link.log[began:]) == 1
    talk(world, 40_002)
    assert resumed(world) == (True, True)


@SUITES
def test_a_session_does_not_outlive_its_time(suite: Suite) -> None:
    world = World.encrypting(suite)
    first_connection(world)
    world.clock.run_for(3700)
    talk(world, 40_001)
    world.assert_encrypted()
    assert resumed(world) == (False, False)


@SUITES
@pytest.mark.parametrize("when", ["before a session is kept", "after"])
@EACH_SIDE
def test_what_an_open_connection_left_is_flushed(side: str, when: str, suite: Suite) -> None:
    """Others' sessions stay."""
    world = World.encrypting(suite)
    client, other = world.open(port=40_000), world.open(port=40_010)
    assert world.clock.run_until(lambda: len(world.server.stack.accepted) == 2, LIMIT)
    server, others = world.server.stack.accepted
    world.exchange(other, others)
    engine, ends = world.client.daemon, world.ends(client)
    if side == "server":
        engine, ends = world.server.daemon, (ends[1], ends[0])
    if when == "after":
        world.exchange(client, server)
        assert engine.counters()["sessions"] == 2
    assert engine.flush_session(*ends)
    world.exchange(client, server)
    assert engine.counters()["sessions"] == 1
    world.close(client, server)
    assert not engine.flush_session(Endpoint("10.9.9.9", 1), Endpoint("10.9.9.8", 2))


@pytest.mark.parametrize(
    ("impairment", "stripping"),
    [(strip(CRYPT, SYN), True), (drop(all_of(SYN, has_option(CRYPT))), False)],
    ids=["stripped", "swallowed"],
)
def test_a_resumption_falls_back(impairment: object, stripping: bool) -> None:
    world = World.encrypting()
    first_connection(world)
    world.link.filters.append(impairment)  # type: ignore[arg-type]
    began = len(world.link.log)
    client, server = talk(world, 40_001)
    world.close(client, server)
    assert any(not has_option(70)(each) and each.segment.payload_length for each in world.link.log[began:])
    world.assert_healthy()


def test_resumption_on_a_bad_path() -> None:
    for seed in range(20):
        conditions = Conditions(loss=0.05, duplication=0.05, reordering=0.2, corruption=0.02)
        world = World.encrypting(seed=seed, conditions=conditions)
        for port in range(40_000, 40_004):
            client, server = talk(world, port)
            world.close(client, server)
        world.assert_healthy()
        assert world.session_ids()[0] == world.session_ids()[1]


@pytest.fixture
def short_keys() -> Callable[[Suite], Suite]:
    """A suite whose keys wear out after 150,000 bytes."""

    def shortened(suite: Suite) -> Suite:
        symmetric = tuple(replace(each, rekey_bytes=150_000) for each in suite.symmetric)
        return Suite(suite.public_key, symmetric)

    return shortened


@SUITES
@pytest.mark.parametrize(
    "conditions", [Conditions(), Conditions(loss=0.05, reordering=0.2, duplication=0.05)], ids=["clean", "bad"]
)
def test_keys_are_replaced_during_a_transfer(
    suite: Suite, conditions: Conditions, short_keys: Callable[[Suite], Suite]
) -> None:
    for seed in range(5):
        world = World.encrypting(short_keys(suite), seed=seed, conditions=conditions)
        client, server = world.connect()
        for _ in range(3):
            world.exchange(client, server, 120_000)
            world.clock.run_for(70)
        world.close(client, server)
        world.assert_encrypted()
        engines = [host.engine for host in world.hosts if host.engine is not None]
        assert sum(engine.counters().get("rekeyed", 0) for engine in engines) >= 2
        assert [engine.counters().get("keys_spent", 0) for engine in engines] == [0, 0]


def assert_alive(world: World, asking: Socket, asked: str) -> None:
    """A keepalive is answered."""
    began = len(world.link.log)
    asking.keep_alive()
    world.clock.run_for(1)
    assert [crossing.sender for crossing in world.link.log[began:]].count(asked) == 1
    world.assert_healthy()


@ALL_SUITES
def test_keepalives_before_any_data(suite: Suite) -> None:
    world = World.encrypting(suite)
    client, server = world.connect()
    world.clock.run_for(1)
    assert_alive(world, client, "server")
    assert_alive(world, server, "client")


@SUITES
def test_keepalives_on_an_idle_connection(suite: Suite) -> None:
    world, client, server = World.opened(suite)
    for _ in range(40):
        world.clock.run_for(500)
        assert_alive(world, client, "server")
        assert_alive(world, server, "client")
    world.exchange(client, server)


@SUITES
@pytest.mark.parametrize("outage", [30, 90])
def test_an_outage_while_keys_are_replaced(suite: Suite, outage: float) -> None:
    """What was sent under the old keys is not acknowledged before they are forgotten."""
    world, client, server = World.opened(suite)
    down = drop(all_of(any_packet, has_payload))
    world.link.filters.append(down)
    client.write(text(5000))
    server.write(text(5000))
    assert world.client.daemon.rekey(*world.ends(client))
    client.keep_alive()
    world.clock.run_for(outage)
    world.link.filters.remove(down)
    assert world.clock.run_until(lambda: client.all_acknowledged and server.all_acknowledged, LIMIT), world.trace()
    world.exchange(client, server, 1000)
    world.close(client, server)
    world.assert_encrypted()


@SUITES
def test_keys_are_replaced_in_time(suite: Suite) -> None:
    world = World.encrypting(suite)
    client, server = world.connect()
    world.exchange(client, server, 1000)
    for _ in range(4):
        world.clock.run_for(4000)
        world.exchange(client, server, 1000)
    info = world.client.daemon.connection(*world.ends(client))
    assert info is not None
    assert info.generation >= 3
    world.close(client, server)
    world.assert_encrypted()


@SUITES
@pytest.mark.parametrize("pause", [0.0, 5.0])
def test_both_ask_for_new_keys_at_once(suite: Suite, pause: float) -> None:
    """Either host takes the other's announcement for the answer to its own."""
    world, client, server = World.opened(suite)
    for host, ends in zip(world.hosts, (world.ends(client), world.ends(client)[::-1]), strict=True):
        assert host.daemon.rekey(*ends)
        host.collect()
    world.clock.run_for(pause)
    world.exchange(client, server)
    for host in world.hosts:
        assert [info.generation for info in host.daemon.connections()] == [1]
    world.assert_encrypted()


@pytest.mark.parametrize("first", ["client", "server"])
@pytest.mark.parametrize("lost", range(9))
def test_the_passive_side_can_be_the_client(first: str, lost: int) -> None:
    world = World.encrypting(ORIGINAL, filters=[drop_nth(any_packet, lost)])
    local = Endpoint(world.server.address, PORT)
    world.server.daemon.set_options(ConnectionOptions(client_mode=ClientMode.ALWAYS), local)
    client, server = world.connect()
    speaker, listener = (client, server) if first == "client" else (server, client)
    speaker.write(text(3000))
    assert world.clock.run_until(lambda: bytes(listener.received) == text(3000), LIMIT), world.trace()
    world.close(client, server)
    if world.session_ids()[0] is not None:
        world.assert_encrypted()
        roles = [event.role for event in world.server.negotiated]
        assert roles == ["client"]
    else:
        assert lost, "nothing was lost, yet the connection is not encrypted"
        world.assert_plain()


def test_both_want_to_be_the_client() -> None:
    world = World.encrypting()
    for host, port in ((world.client, 40_000), (world.server, PORT)):
        host.daemon.set_options(ConnectionOptions(client_mode=ClientMode.ALWAYS), Endpoint(host.address, port))
    world.talk()
    world.assert_plain()


def test_the_best_common_suite_is_taken() -> None:
    pairs = [
        ((X25519_HPKE, RSA_2048), (RSA_2048,), "RSA-2048"),
        ((RSA_2048,), (X25519_HPKE, RSA_2048), "RSA-2048"),
        ((X25519_HPKE, RSA_2048), (X25519_HPKE, RSA_2048), "X25519-HPKE"),
    ]
    symmetric = (AES_256_GCM_SIV, AES128_CTR_SEQIV_HMAC_SHA1)
    for client_keys, server_keys, expected in pairs:
        world = World(
            client=make_engine("c", Suite(client_keys, symmetric)),
            server=make_engine("s", Suite(server_keys, symmetric)),
        )
        talk(world, 40_000)
        world.assert_encrypted()
        (event,) = (event for event in world.client.negotiated)
        assert event.suite == f"{expected}/AES-256-GCM-SIV"


@SUITES
def test_both_ends_on_one_host(suite: Suite) -> None:
    world = World.encrypting(suite)
    host = world.client
    host.stack.listen(PORT)
    world.link.attach("client", lambda packet: None)
    world.link.attach("server", host.receive)
    for number in range(3):
        socket = host.stack.open(host.address, PORT, local_port=40_000 + number)
        assert world.clock.run_until(lambda number=number: len(host.stack.accepted) > number, LIMIT)  # type: ignore[misc]
        world.exchange(socket, host.stack.accepted[number])
        world.close(socket, host.stack.accepted[number])
    events = host.negotiated
    assert [info.resumed for info in events] == [False, False, True, True, True, True]
    assert len({info.session_id for info in events}) == 3
    world.assert_nothing_in_clear()
    assert host.daemon.counters()["negotiated"] == 6
