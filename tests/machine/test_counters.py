"""What the engine tells of connections and counts of them, in each state."""

import pytest

from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tests.machine.host import Host
from tests.machine.world import ENO, LIMIT, MODERN, Suite, World, make_engine

SUITES = pytest.mark.parametrize("suite", [MODERN, ENO], ids=["crypt", "eno"])


def count(host: Host, state: ConnectionState = ConnectionState.ENCRYPTED) -> tuple[int, int]:
    """Connections of a state, by the counter and one by one."""
    states = [info.state for info in host.daemon.connections()]
    return host.daemon.counters()[state.value], states.count(state)


def known(host: Host) -> ConnectionInfo:
    (info,) = host.daemon.connections()
    return info


def test_encrypted_connections() -> None:
    world = World.encrypting()
    for number in range(1, 4):
        client, server = world.connect(port=40_000 + number)
        world.exchange(client, server)
        assert count(world.client) == count(world.server) == (number, number)
    for host in world.hosts:
        host.daemon.shut_down(world.clock.now)
        assert count(host) == (0, 0)


@SUITES
def test_a_connection_that_both_ends_have_closed(suite: Suite) -> None:
    """It does not count as encrypted any more, but who has its socket can still ask for its session ID."""
    world, client, server = World.opened(suite)
    session_id = known(world.client).session_id
    client.shut_down()
    world.clock.run_for(1)
    assert count(world.client) == count(world.server) == (1, 1)
    server.shut_down()
    assert world.clock.run_until(lambda: client.finished and server.finished, LIMIT)
    for host in world.hosts:
        info = known(host)
        assert (info.state, info.session_id, info.reason) == (ConnectionState.CLOSED, session_id, None)
        assert count(host) == (0, 0)
        assert count(host, ConnectionState.CLOSED) == (1, 1)


@SUITES
def test_a_connection_that_is_reset(suite: Suite) -> None:
    world, client, _ = World.opened(suite)
    client.abort()
    world.clock.run_for(1)
    for host in world.hosts:
        assert known(host).state is ConnectionState.CLOSED
        assert count(host) == (0, 0)


@SUITES
def test_a_connection_of_an_earlier_daemon(suite: Suite) -> None:
    world, client, _ = World.opened(suite)
    world.client.start_engine(make_engine("new", suite))
    client.write(b"more")
    world.clock.run_for(1)
    info = known(world.client)
    assert (info.state, info.session_id) == (ConnectionState.CLOSED, None)
    assert info.reason == "it ended before there were keys, or an earlier daemon had them"
    assert count(world.client) == (0, 0)
