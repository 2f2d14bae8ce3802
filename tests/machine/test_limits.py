"""What the engine holds is bounded, whatever comes and however long it runs."""

import pytest

from tcpcryptd.core.admission import PER_SECOND
from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.verdict import Action, ConnectionClass, Direction
from tcpcryptd.crypt.option import HELLO, encode
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.option import Suboption
from tcpcryptd.wire.options import pad
from tcpcryptd.wire.segment import SYN, make
from tests.machine.endpoint import Behaviour, State
from tests.machine.link import any_packet, drop
from tests.machine.test_eno_exchange import carries
from tests.machine.world import ALL, EACH_PROTOCOL, EACH_SIDE, ENO, LIMIT, Suite, World, make_engine, text


def flood_syn(number: int, options: bytes) -> bytes:
    source = bytes((11, number >> 16 & 255, number >> 8 & 255, number & 255))
    key = source + bytes((10, 0, 0, 2)) + (1024 + number % 60_000).to_bytes(2, "big") + b"\0\x50"
    return make(key, sequence=number, acknowledgment=0, flags=SYN, window=1000, option_area=pad(options))


OFFER = option.build(0, (Suboption(0x23),), ordered=True).raw


def small(suite: Suite = ALL, **bounds: int) -> Engine:
    return make_engine("small", suite, EngineConfig(**bounds))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suite", "options"), [(ALL, b""), (ALL, encode(HELLO)), (ENO, OFFER)], ids=["plain", "HELLO", "ENO"]
)
def test_a_syn_flood_is_bounded(suite: Suite, options: bytes) -> None:
    engine = small(suite, max_connections=100, max_opening=50, max_plain_records=30)
    for number in range(2000):
        action, *_ = engine.handle_packet(flood_syn(number, options), Direction.IN, number / 1000)
        assert action is not Action.DROP
        assert len(list(engine.connections())) <= 80
    while engine.next_event() is not None:
        pass
    assert engine.packets_to_inject() == []
    engine.handle_timeout(1000.0)
    assert engine.counters()["connections"] == 0
    assert engine.next_timeout() is None


def test_events_and_timers_that_nobody_collects_are_bounded() -> None:
    engine = small(max_connections=100, max_opening=50, max_plain_records=30)
    for number in range(20_000):
        engine.handle_packet(flood_syn(number, b""), Direction.IN, 0.0)
    events = 0
    while engine.next_event() is not None:
        events += 1
    assert events <= 4096


def test_a_flood_does_not_touch_open_connections() -> None:
    world = World(client=make_engine("client"), server=small(max_connections=20, max_opening=10))
    client, server = world.connect()
    world.exchange(client, server)
    for number in range(500):
        world.server.daemon.handle_packet(flood_syn(number, encode(HELLO)), Direction.IN, world.clock.now)
    world.exchange(client, server)
    world.close(client, server)
    world.assert_encrypted()


@EACH_SIDE
def test_a_handshake_that_has_to_make_room_is_reset(side: str) -> None:
    """Encryption is enabled, and the keys are not there: neither kernel may go on in clear."""
    arguments = {side: small(ENO, max_opening=2)}
    other = "server" if side == "client" else "client"
    world = World(**arguments, **{other: make_engine("other", ENO)})  # type: ignore[arg-type]
    message = "Init1" if side == "server" else "Init2"
    world.link.filters.append(drop(carries(message)))
    client = world.open(data=text(500))
    assert world.clock.run_until(lambda: any(carries("Init1")(each) for each in world.link.log), LIMIT)
    if side == "server":
        world.link.filters.clear()
        world.link.filters.append(lambda crossing: [crossing.segment.edited(payload=crossing.segment.payload[:20])])
        world.clock.run_for(1)
    victim = world.host(side).daemon
    for number in range(5):
        victim.handle_packet(flood_syn(number, OFFER), Direction.IN, world.clock.now)
    world.clock.run_for(100)
    assert client.error is not None
    assert all(not each.received for each in world.server.stack.accepted)
    world.assert_nothing_in_clear()


@EACH_PROTOCOL
def test_a_full_table_leaves_new_connections_plain(suite: Suite) -> None:
    world = World(client=small(suite, max_connections=3), server=make_engine("server", suite))
    for number in range(6):
        client, server = world.connect(port=40_000 + number)
        world.exchange(client, server, 3000)
    engine = world.client.daemon
    classes = [entry.mark for entry in world.client.tracked.values()]
    encrypted = ConnectionClass.STREAM if suite is ENO else ConnectionClass.ENCRYPTED
    assert classes == [encrypted] * 3 + [ConnectionClass.PLAIN] * 3
    assert engine.counters()["encrypted"] == 3
    world.assert_healthy()


@EACH_PROTOCOL
@EACH_SIDE
def test_openings_wait_while_packets_do(suite: Suite, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are as encrypted as others once the packets that waited have been handled, and open connections go on."""
    world = World.encrypting(suite)
    client, server = world.connect()
    engine = world.host(side).daemon
    engine.admission.handled(1, True)
    direction = Direction.OUT if side == "client" else Direction.IN
    monkeypatch.setitem(PER_SECOND, direction, 0.0)
    while engine.admission.admits(direction, world.clock.now):
        pass
    late = world.open(port=40_001)
    world.exchange(client, server)
    assert late.state is not State.OPEN
    assert engine.counters()["openings_deferred"] == 1
    engine.admission.handled(1, False)
    late.write(b"request")

    def arrived() -> bool:
        return any(bytes(each.received) == b"request" for each in world.server.stack.accepted)

    assert world.clock.run_until(arrived, LIMIT), world.trace()
    assert engine.counters()["encrypted"] == 2


@EACH_PROTOCOL
def test_closed_connections_make_room_in_a_full_table(suite: Suite) -> None:
    """Without that, whoever opens many short connections would get plain ones after a while."""
    limited = make_engine("client", suite, config=EngineConfig(max_connections=3))
    world = World(client=limited, server=make_engine("server", suite))
    for number in range(10):
        client, server = world.connect(port=40_000 + number)
        world.exchange(client, server, 3000)
        world.close(client, server)
    assert world.client.engine is limited
    assert all(entry.mark.is_encrypted for entry in world.client.tracked.values())
    counters = limited.counters()
    assert counters["connections"] == 3
    assert counters["closed_evicted"] == 7
    assert "table_full" not in counters
    world.assert_healthy()


def test_connections_that_are_over_are_kept_in_bounds() -> None:
    limited = make_engine("client", config=EngineConfig(max_closed=2))
    world = World(client=limited, server=make_engine("server"))
    open_one = world.connect(port=39_000)
    for number in range(6):
        ends = world.connect(port=40_000 + number)
        world.exchange(*ends, 3000)
        world.close(*ends)
    assert limited.counters()["connections"] == 3
    assert limited.counters()["closed_evicted"] == 4
    world.exchange(*open_one)
    world.assert_healthy()


@pytest.mark.parametrize("limited", ["client", "server"])
def test_handshakes_that_do_not_fit_the_table_do_not_fail(limited: str) -> None:
    engine, other = make_engine("limited", config=EngineConfig(max_connections=3)), make_engine("other")
    world = World(client=engine, server=other) if limited == "client" else World(client=other, server=engine)
    sockets = [world.open(port=40_000 + number) for number in range(8)]
    for socket in sockets:
        socket.write(b"request")

    def all_arrived() -> bool:
        return [bytes(server.received) for server in world.server.stack.accepted] == [b"request"] * len(sockets)

    assert world.clock.run_until(all_arrived, LIMIT), world.trace()
    assert {socket.error for socket in sockets} == {None}


def test_a_handshake_that_is_evicted_still_becomes_a_connection() -> None:
    world = World(client=make_engine("client"), server=small(max_opening=2))
    client = world.open()
    engine = world.server.daemon
    world.clock.run_until(lambda: len(world.link.log) == 2, LIMIT)
    for number in range(5):
        engine.handle_packet(flood_syn(number, encode(HELLO)), Direction.IN, world.clock.now)
    client.write(b"request")
    assert world.clock.run_until(lambda: any(bytes(each.received) for each in world.server.stack.accepted), LIMIT)
    (server,) = world.server.stack.accepted
    assert bytes(server.received) == b"request"


def test_unanswered_syns_are_forgotten() -> None:
    world = World.encrypting(filters=[drop(any_packet)])
    sockets = [world.open(port=port) for port in range(40_000, 40_010)]
    world.clock.run_for(300)
    assert {socket.error for socket in sockets} == {"timed out"}
    world.clock.run_for(100)
    engine = world.client.daemon
    assert engine.counters()["connections"] == 0
    assert engine.next_timeout() is None


def test_an_idle_open_connection_lives_and_a_dead_one_goes() -> None:
    world, client, server = World.opened()
    for _ in range(3):
        world.clock.run_for(24 * 3600)
        world.exchange(client, server, 1000)
    world.assert_encrypted()
    world.client.stack.sockets.clear()
    world.server.stack.sockets.clear()
    world.clock.run_for(6 * 24 * 3600)
    for host in world.hosts:
        assert host.daemon.counters()["connections"] == 0


def test_hundreds_of_connections_leave_nothing_behind() -> None:
    world = World.encrypting()
    for number in range(500):
        client, server = world.connect(port=10_000 + number, behaviour=Behaviour(timestamps=False))
        client.write(b"x")
        world.close(client, server)
        world.clock.run_for(2)
        world.link.log.clear()
        for host in world.hosts:
            host.events.clear()
            assert host.daemon.counters()["connections"] < 100
    world.clock.run_for(200)
    for host in world.hosts:
        assert list(host.daemon.connections()) == []
        assert host.daemon.next_timeout() is None
