"""How connections end, and that nothing of them stays."""

import pytest

from tcpcryptd.core.event import Closed
from tcpcryptd.wire.segment import FIN, RST
from tests.machine.host import Host
from tests.machine.link import MAC, Filter, drop_nth, has_flags, has_option, repeat
from tests.machine.world import EACH_PROTOCOL, ENO, LIMIT, MODERN, ORIGINAL, Suite, World, text

SUITES = pytest.mark.parametrize("suite", [ORIGINAL, MODERN, ENO], ids=["original", "modern", "eno"])


def assert_forgotten(world: World, after: float = 160.0) -> None:
    """Keys go at the latest when a retransmission can no longer come."""
    world.clock.run_for(after)
    for host in world.hosts:
        assert host.daemon.counters()["connections"] == 0, list(host.daemon.connections())
        assert host.daemon.next_timeout() is None
        assert sum(isinstance(event, Closed) for event in host.events) == len(host.negotiated)


@SUITES
def test_half_close(suite: Suite) -> None:
    world = World.encrypting(suite)
    client, server = world.connect()
    client.write(text(5000))
    client.shut_down()
    assert world.clock.run_until(lambda: server.peer_finished, LIMIT)
    assert bytes(server.received) == text(5000)
    world.clock.run_for(3600)
    server.write(text(100_000))
    assert world.clock.run_until(lambda: bytes(client.received) == text(100_000), LIMIT), world.trace()
    server.shut_down()
    assert world.clock.run_until(lambda: client.finished and server.finished, LIMIT)
    world.assert_encrypted()
    assert_forgotten(world)


@SUITES
def test_both_close_at_once(suite: Suite) -> None:
    world, client, server = World.opened(suite)
    client.shut_down()
    server.shut_down()
    assert world.clock.run_until(lambda: client.finished and server.finished, LIMIT)
    world.assert_encrypted()
    assert_forgotten(world)


@pytest.mark.parametrize("lost", range(1, 5))
def test_a_closing_segment_is_lost(lost: int) -> None:
    world, client, server = World.opened()
    world.link.filters.append(drop_nth(lambda crossing: True, lost))
    world.close(client, server)
    world.assert_encrypted()
    assert_forgotten(world)


@pytest.mark.parametrize("aborting", ["client", "server"])
def test_an_abort_reaches_the_other_side(aborting: str) -> None:
    world, client, server = World.opened()
    near, far = (client, server) if aborting == "client" else (server, client)
    near.abort()
    assert world.clock.run_until(lambda: far.error == "reset", 1), world.trace()
    resets = [crossing for crossing in world.link.log if crossing.segment.flags & RST]
    assert [crossing.segment.option(MAC) is not None for crossing in resets] == [True]
    world.assert_encrypted()
    assert_forgotten(world)


def test_an_abort_is_the_first_authentic_segment() -> None:
    """The ACK of INIT2 is lost, and the client gives up before it sends anything else."""
    world = World.encrypting()
    client = world.open()
    world.link.filters.append(drop_nth(has_option(MAC), 1))
    assert world.clock.run_until(lambda: world.session_ids()[0] is not None, LIMIT)
    client.abort()
    world.clock.run_for(1)
    assert not world.server.stack.sockets
    assert_forgotten(world)


def test_a_client_that_closes_at_once() -> None:
    world = World.encrypting()
    client = world.open()
    client.shut_down()
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), LIMIT)
    (server,) = world.server.stack.accepted
    assert world.clock.run_until(lambda: server.peer_finished, LIMIT)
    server.shut_down()
    assert world.clock.run_until(lambda: client.finished and server.finished, LIMIT)
    assert_forgotten(world)


@EACH_PROTOCOL
@pytest.mark.parametrize("pause", [0.0, 2.0, 70.0])
@pytest.mark.parametrize("impairment", [None, repeat(has_flags(FIN, FIN))], ids=["clean", "FIN twice"])
def test_addresses_and_ports_are_used_again(suite: Suite, pause: float, impairment: Filter | None) -> None:
    world = World.encrypting(suite, filters=[impairment] if impairment else [])
    sessions = set()
    for _ in range(3):
        client, server = world.connect()
        world.exchange(client, server, 2000)
        world.close(client, server)
        world.assert_encrypted()
        sessions.add(world.session_ids()[0])
        world.client.stack.forget(client)
        world.clock.run_for(pause)
    assert len(sessions) == 3
    assert_forgotten(world)


def lose_kernel_state(host: Host) -> None:
    """The host's kernel has given up on its connections without a word."""
    for socket in list(host.stack.sockets.values()):
        host.stack.forget(socket)


@EACH_PROTOCOL
@pytest.mark.parametrize("forgetful", ["client", "server"])
def test_one_side_has_forgotten_the_connection(suite: Suite, forgetful: str) -> None:
    """The client opens it again: the new connection works, and is encrypted."""
    world = World.encrypting(suite)
    client, server = world.connect()
    world.exchange(client, server, 2000)
    lose_kernel_state(world.client)
    if forgetful == "server":
        lose_kernel_state(world.server)
    client, server = world.connect()
    assert client.error is None
    world.exchange(client, server, 2000)
    world.assert_encrypted()
