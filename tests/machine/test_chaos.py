"""Every transfer completes with the right bytes on a bad path."""

from random import Random

import pytest

from tests.machine.endpoint import Behaviour, Socket
from tests.machine.link import Conditions, Merge, split
from tests.machine.world import ENO, LIMIT, MODERN, ORIGINAL, PORT, Suite, World, text

SEEDS = range(25)


def conditions(random: Random) -> Conditions:
    return Conditions(
        loss=random.uniform(0, 0.1),
        duplication=random.uniform(0, 0.1),
        reordering=random.uniform(0, 0.3),
        corruption=random.uniform(0, 0.05),
        delay=random.uniform(0.001, 0.2),
    )


def transfer(world: World, random: Random) -> None:
    behaviour = Behaviour(
        timestamps=random.random() < 0.7,
        ecn=random.random() < 0.3,
        mss=random.choice((536, 1220, 1460)),
        probe_with_data=random.random() < 0.5,
    )
    world.server.stack.listen(PORT, behaviour)
    client, server = world.connect(behaviour=behaviour)
    for _ in range(3):
        world.exchange(client, server, random.randrange(30_000))
    world.close(client, server)


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("suite", [ORIGINAL, MODERN, ENO], ids=["original", "modern", "eno"])
def test_encrypted(suite: Suite, block: int) -> None:
    encrypted = 0
    for seed in SEEDS:
        random = Random(f"{block} {seed}")
        world = World.encrypting(suite, seed=seed, conditions=conditions(random), version=random.choice((4, 6)))
        transfer(world, random)
        assert world.session_ids()[0] == world.session_ids()[1], seed
        if world.session_ids()[0] is not None:
            encrypted += 1
            world.assert_nothing_in_clear()
        world.assert_healthy()
    assert encrypted > len(SEEDS) * 0.8


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("suite", [ORIGINAL, MODERN, ENO], ids=["original", "modern", "eno"])
def test_daemons_that_fall_behind(suite: Suite, block: int) -> None:
    """Packets wait in the queues for longer than a kernel, or an engine, waits before it sends one again."""
    completed = 0
    for seed in SEEDS:
        random = Random(f"{block} {seed}")
        world = World.encrypting(suite, seed=seed, version=random.choice((4, 6)))
        for host in world.hosts:
            lag = random.choice((0.05, 0.3, 1.0))
            host.lag = lambda lag=lag, random=random: random.expovariate(1 / lag)
        client = world.open(data=text(2000, b"request "))

        def over(client: Socket = client, accepted: list[Socket] = world.server.stack.accepted) -> bool:
            received = [server.received for server in accepted]
            return client.error is not None or (client.all_acknowledged and [text(2000, b"request ")] == received)

        assert world.clock.run_until(over, LIMIT), world.trace()
        world.client.lag = world.server.lag = lambda: 0.0
        if client.error is not None:
            # One side fell back and the other did not: whatever there is of it, nobody may have taken it for data.
            assert not client.received
            assert not any(server.received for server in world.server.stack.accepted)
            continue
        completed += 1
        server = world.server.stack.accepted[0]
        world.exchange(client, server)
        world.close(client, server)
        if None in world.session_ids():
            world.assert_plain()
        else:
            world.assert_encrypted()
    assert completed > len(SEEDS) * 0.8


@pytest.mark.parametrize("block", range(4))
def test_plain(block: int) -> None:
    for seed in SEEDS:
        random = Random(f"{block} {seed}")
        filters = random.choice(([split], [Merge()], [split, Merge()], []))
        world = World(seed=seed, conditions=conditions(random), filters=filters)  # type: ignore[arg-type]
        transfer(world, random)
