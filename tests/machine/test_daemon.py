"""The daemon dies, starts again, or is stopped, while connections are open."""

import pytest

from tcpcryptd.core.verdict import ConnectionClass
from tests.machine.endpoint import Socket
from tests.machine.link import MAC, Crossing
from tests.machine.world import EACH_PROTOCOL, EACH_SIDE, LIMIT, Suite, World, make_engine, text


def in_mid_transfer(suite: Suite) -> tuple[World, Socket, Socket]:
    world, client, server = World.opened(suite)
    client.write(text(200_000))
    server.write(text(200_000))
    assert world.clock.run_until(lambda: len(server.received) > 80_000, LIMIT)
    return world, client, server


def sent_by(world: World, side: str, since: int) -> list[Crossing]:
    return [crossing for crossing in world.link.log[since:] if crossing.sender == side]


@EACH_PROTOCOL
@EACH_SIDE
def test_a_killed_daemon_leaks_nothing(suite: Suite, side: str) -> None:
    world, *_ = in_mid_transfer(suite)
    host = world.host(side)
    host.kill_engine()
    killed = len(world.link.log)
    world.clock.run_for(60)
    assert sent_by(world, side, killed) == []
    world.assert_nothing_in_clear()


@EACH_PROTOCOL
@EACH_SIDE
def test_new_connections_work_after_the_daemon_was_killed(suite: Suite, side: str) -> None:
    world, *_ = in_mid_transfer(suite)
    world.host(side).kill_engine()
    client, server = world.connect(port=40_001)
    world.exchange(client, server)


@EACH_PROTOCOL
@EACH_SIDE
@pytest.mark.parametrize("idle", [False, True], ids=["busy", "idle"])
def test_a_new_daemon_resets_what_the_old_one_encrypted(suite: Suite, side: str, idle: bool) -> None:
    world, client, server = in_mid_transfer(suite)
    if idle:
        assert world.clock.run_until(lambda: client.all_acknowledged and server.all_acknowledged, LIMIT)
    host = world.host(side)
    host.kill_engine()
    world.clock.run_for(5)
    host.start_engine(make_engine("new", suite))
    if idle:
        client.write(text(100))
    assert world.clock.run_until(lambda: (client.error, server.error) == ("reset", "reset"), 60), world.trace()
    world.assert_nothing_in_clear()
    fresh = world.connect(port=40_001)
    world.exchange(*fresh)
    world.assert_nothing_in_clear()


@EACH_PROTOCOL
def test_two_new_daemons_reset_both_ends(suite: Suite) -> None:
    world, client, server = in_mid_transfer(suite)
    world.client.kill_engine()
    world.server.kill_engine()
    world.clock.run_for(1)
    world.client.start_engine(make_engine("new client", suite))
    world.server.start_engine(make_engine("new server", suite))
    assert world.clock.run_until(lambda: (client.error, server.error) == ("reset", "reset"), 60), world.trace()
    world.assert_nothing_in_clear()
    settled = len(world.link.log)
    world.clock.run_for(600)
    assert len(world.link.log) - settled < 10


@EACH_PROTOCOL
@EACH_SIDE
def test_an_orderly_stop_resets_both_ends(suite: Suite, side: str) -> None:
    world, client, server = in_mid_transfer(suite)
    host = world.host(side)
    host.shut_down_engine()
    assert world.clock.run_until(lambda: (client.error, server.error) == ("reset", "reset"), 5), world.trace()
    world.assert_nothing_in_clear()


@EACH_PROTOCOL
@EACH_SIDE
@pytest.mark.parametrize("stage", range(1, 8))
def test_a_stop_during_the_handshake_leaves_nothing_hanging(suite: Suite, side: str, stage: int) -> None:
    world = World.encrypting(suite)
    client = world.open(data=text(3000))
    assert world.clock.run_until(lambda: len(world.link.log) >= stage, LIMIT)
    world.host(side).shut_down_engine()

    def over() -> bool:
        servers = world.server.stack.accepted
        return client.error is not None or any(bytes(server.received) == text(3000) for server in servers)

    assert world.clock.run_until(over, LIMIT), world.trace()
    world.assert_healthy()


def test_existing_connections_are_left_alone() -> None:
    world = World()
    client, server = world.connect()
    world.exchange(client, server)
    world.client.start_engine(make_engine("client"))
    world.server.start_engine(make_engine("server"))
    world.exchange(client, server)
    world.close(client, server)
    world.assert_plain()


@EACH_SIDE
def test_a_host_that_was_started_again_answers_with_a_reset(side: str) -> None:
    """Neither its kernel nor its daemon nor its connection tracker knows the connection."""
    world, client, server = World.opened()
    host, far = (world.client, server) if side == "client" else (world.server, client)
    for socket in list(host.stack.sockets.values()):
        host.stack.forget(socket)
    host.tracked.clear()
    host.start_engine(make_engine("after the restart"))
    far.write(text(1000))
    assert world.clock.run_until(lambda: far.error == "reset", 5), world.trace()
    assert all(entry.mark is not ConnectionClass.PLAIN for entry in host.tracked.values())


def test_what_an_earlier_daemon_left_counts_as_reset_once_it_is_seen() -> None:
    """Also when its entry is gone, until the kernel opens a new connection with these addresses and ports."""
    world, client, _ = World.opened()
    info = next(world.client.daemon.connections())
    world.client.kill_engine()
    engine = make_engine("new")
    world.client.start_engine(engine)
    assert not engine.was_reset(info.local, info.remote)
    client.write(text(100))
    world.clock.run_for(1000)
    assert client.error == "reset"
    assert engine.connection(info.local, info.remote) is None
    assert engine.was_reset(info.local, info.remote)


def test_a_sealed_segment_is_never_accepted_by_a_host_that_does_not_know_it() -> None:
    world, _, server = World.opened()
    sealed = next(each for each in world.link.log if each.segment.option(MAC) and each.segment.payload_length)
    world.server.start_engine(make_engine("new"))
    received = bytes(server.received)
    world.link.deliver(sealed.sender, sealed.packet)
    world.clock.run_for(1)
    assert bytes(server.received) == received
