"""What the engine counts, without looking at each connection."""

from tcpcryptd.core.verdict import ConnectionClass
from tests.machine.host import Host
from tests.machine.world import World


def count(host: Host) -> tuple[int, int]:
    """Encrypted connections, by the counter and one by one."""
    assert host.engine is not None
    states = [info.state for info in host.engine.connections()]
    return host.engine.counters()["encrypted"], states.count(ConnectionClass.ENCRYPTED)


def test_encrypted_connections() -> None:
    world = World.encrypting()
    for number in range(1, 4):
        client, server = world.connect(port=40_000 + number)
        world.exchange(client, server)
        assert count(world.client) == count(world.server) == (number, number)
    for host in (world.client, world.server):
        assert host.engine is not None
        host.engine.shut_down(world.clock.now)
        assert count(host) == (0, 0)
