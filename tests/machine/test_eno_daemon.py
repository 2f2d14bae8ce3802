"""What becomes of connections when a daemon dies, starts or stops, a host forgets them, or a table is full."""

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.verdict import Action, ConnectionClass, Direction
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.option import Suboption
from tests.machine.endpoint import Socket
from tests.machine.host import Host
from tests.machine.link import drop
from tests.machine.test_eno_exchange import carries
from tests.machine.test_limits import flood_syn
from tests.machine.world import ENO, LIMIT, World, make_engine, text

EACH_SIDE = pytest.mark.parametrize("side", ["client", "server"])
OFFER = option.build(0, (Suboption(0x23),), ordered=True).raw


def engine_of(host: Host) -> Engine:
    assert host.engine is not None
    return host.engine


@pytest.mark.parametrize("pause", [0.0, 2.0, 70.0])
def test_addresses_and_ports_are_used_again(pause: float) -> None:
    world = World.encrypting(ENO)
    ids = set()
    for _ in range(4):
        client, server = world.connect()
        world.exchange(client, server, 2000)
        world.close(client, server)
        world.assert_encrypted()
        ids.add(world.session_ids()[0])
        world.client.stack.forget(client)
        world.clock.run_for(pause)
    assert len(ids) == 4


@EACH_SIDE
def test_one_side_has_forgotten_the_connection(side: str) -> None:
    world = World.encrypting(ENO)
    client, server = world.connect()
    world.exchange(client, server, 2000)
    for host in {world.client, world.client if side == "client" else world.server}:
        for socket in list(host.stack.sockets.values()):
            host.stack.forget(socket)
    client, server = world.connect()
    world.exchange(client, server, 2000)
    world.assert_encrypted()


def in_mid_transfer() -> tuple[World, Socket, Socket]:
    world = World.encrypting(ENO)
    client, server = world.connect()
    world.exchange(client, server)
    client.write(text(200_000))
    server.write(text(200_000))
    assert world.clock.run_until(lambda: len(server.received) > 80_000, LIMIT)
    return world, client, server


@EACH_SIDE
def test_a_killed_daemon_leaks_nothing(side: str) -> None:
    world, *_ = in_mid_transfer()
    (world.client if side == "client" else world.server).kill_engine()
    killed = len(world.link.log)
    world.clock.run_for(60)
    assert [each for each in world.link.log[killed:] if each.sender == side] == []
    world.assert_nothing_in_clear()


@EACH_SIDE
@pytest.mark.parametrize("idle", [False, True], ids=["busy", "idle"])
def test_a_new_daemon_resets_what_the_old_one_encrypted(side: str, idle: bool) -> None:
    world, client, server = in_mid_transfer()
    if idle:
        assert world.clock.run_until(lambda: client.all_acknowledged and server.all_acknowledged, LIMIT)
    host = world.client if side == "client" else world.server
    host.kill_engine()
    world.clock.run_for(5)
    host.start_engine(make_engine("new", ENO))
    if idle:
        client.write(text(100))
    assert world.clock.run_until(lambda: (client.error, server.error) == ("reset", "reset"), 60), world.trace()
    fresh = world.connect(port=40_001)
    world.exchange(*fresh)
    world.assert_nothing_in_clear()


@EACH_SIDE
def test_an_orderly_stop_resets_both_ends(side: str) -> None:
    world, client, server = in_mid_transfer()
    (world.client if side == "client" else world.server).shut_down_engine()
    assert world.clock.run_until(lambda: (client.error, server.error) == ("reset", "reset"), 5), world.trace()
    world.assert_nothing_in_clear()


@EACH_SIDE
@pytest.mark.parametrize("stage", range(1, 8))
def test_a_stop_during_the_handshake_leaves_nothing_hanging(side: str, stage: int) -> None:
    world = World.encrypting(ENO)
    client = world.open()
    client.write(text(3000))
    assert world.clock.run_until(lambda: len(world.link.log) >= stage, LIMIT)
    (world.client if side == "client" else world.server).shut_down_engine()

    def over() -> bool:
        servers = world.server.stack.accepted
        return client.error is not None or any(bytes(server.received) == text(3000) for server in servers)

    assert world.clock.run_until(over, LIMIT), world.trace()
    world.assert_healthy()


@EACH_SIDE
def test_a_handshake_that_has_to_make_room_is_reset(side: str) -> None:
    """Encryption is enabled, and the keys are not there: neither kernel may go on in clear."""
    config = EngineConfig(max_opening=2)
    arguments = {side: make_engine("small", ENO, config)}
    other = "server" if side == "client" else "client"
    world = World(**arguments, **{other: make_engine("other", ENO)})  # type: ignore[arg-type]
    message = "Init1" if side == "server" else "Init2"
    world.link.filters.append(drop(carries(message)))
    client = world.open()
    client.write(text(500))
    assert world.clock.run_until(lambda: any(carries("Init1")(each) for each in world.link.log), LIMIT)
    if side == "server":
        world.link.filters.clear()
        world.link.filters.append(lambda crossing: [crossing.segment.edited(payload=crossing.segment.payload[:20])])
        world.clock.run_for(1)
    victim = engine_of(world.client if side == "client" else world.server)
    for number in range(5):
        victim.handle_packet(flood_syn(number, OFFER), Direction.IN, world.clock.now)
    world.clock.run_for(100)
    assert client.error is not None
    assert all(not each.received for each in world.server.stack.accepted)
    world.assert_nothing_in_clear()


def test_a_syn_flood_is_bounded() -> None:
    engine = make_engine("small", ENO, EngineConfig(max_connections=100, max_opening=50, max_plain_records=30))
    for number in range(2000):
        action, *_ = engine.handle_packet(flood_syn(number, OFFER), Direction.IN, number / 1000)
        assert action is not Action.DROP
        assert len(list(engine.connections())) <= 80
    while engine.next_event() is not None:
        pass
    assert engine.packets_to_inject() == []
    engine.handle_timeout(1000.0)
    assert engine.counters()["connections"] == 0
    assert engine.next_timeout() is None


def test_a_full_table_leaves_new_connections_plain() -> None:
    engine = make_engine("client", ENO, EngineConfig(max_connections=3))
    world = World(client=engine, server=make_engine("server", ENO))
    for number in range(6):
        client, server = world.connect(port=40_000 + number)
        world.exchange(client, server, 3000)
    classes = [entry.mark for entry in world.client.tracked.values()]
    assert classes == [ConnectionClass.STREAM] * 3 + [ConnectionClass.PLAIN] * 3
    world.assert_healthy()
