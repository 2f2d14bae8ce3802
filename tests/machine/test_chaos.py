"""Every transfer completes with the right bytes on a bad path."""

from random import Random

import pytest

from tests.machine.endpoint import Behaviour
from tests.machine.link import Conditions, Merge, split
from tests.machine.world import ENO, MODERN, ORIGINAL, PORT, World

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
def test_encrypted(suite: object, block: int) -> None:
    encrypted = 0
    for seed in SEEDS:
        random = Random(f"{block} {seed}")
        world = World.encrypting(suite, seed=seed, conditions=conditions(random), version=random.choice((4, 6)))  # type: ignore[arg-type]
        transfer(world, random)
        assert world.session_ids()[0] == world.session_ids()[1], seed
        if world.session_ids()[0] is not None:
            encrypted += 1
            world.assert_nothing_in_clear()
        world.assert_healthy()
    assert encrypted > len(SEEDS) * 0.8


@pytest.mark.parametrize("block", range(4))
def test_plain(block: int) -> None:
    for seed in SEEDS:
        random = Random(f"{block} {seed}")
        filters = random.choice(([split], [Merge()], [split, Merge()], []))
        world = World(seed=seed, conditions=conditions(random), filters=filters)  # type: ignore[arg-type]
        transfer(world, random)
