"""Selective acknowledgments (RFC 2018) through `crypt` between two of our daemons, and none where there is no room."""

from dataclasses import replace

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.crypto.suites import AES_256_GCM_SIV, X25519_HPKE
from tcpcryptd.wire import options
from tests.machine.endpoint import Behaviour, Socket
from tests.machine.link import Conditions, Crossing, drop_nth, has_payload
from tests.machine.world import (
    ALL,
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

SIZE = 400_000
WHOLE = replace(MODERN, whole_packets=True)


def connected(suite: Suite, behaviour: Behaviour | None = None, **arguments: object) -> tuple[World, Socket, Socket]:
    world = World.encrypting(suite, **arguments)
    world.server.stack.listen(PORT, behaviour)
    client, server = world.connect(behaviour=behaviour)
    return world, client, server


class LoseOnce:
    """Drops the client's data segments with these numbers, and nothing that is sent again."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        self._seen: list[int] = []

    def __call__(self, crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if crossing.sender != "client" or not segment.payload_length or segment.sequence in self._seen:
            return [crossing.packet]
        self._seen.append(segment.sequence)
        return [] if len(self._seen) in self._numbers else [crossing.packet]


def blocks_on_the_wire(world: World) -> list[bytes]:
    values = (crossing.segment.option(options.SACK) for crossing in world.link.log)
    return [value for value in values if value is not None]


def assert_true(blocks: list[tuple[int, int]], sent: int) -> None:
    """Each stands for bytes that were sent, behind a hole."""
    assert all(1 < start < end <= sent + 2 for start, end in blocks)


@pytest.mark.parametrize("suite", [MODERN, WHOLE, Suite((X25519_HPKE,), (AES_256_GCM_SIV,)), ALL])
@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("version", [4, 6])
def test_holes_are_filled_without_a_timeout(suite: Suite, timestamps: bool, version: int) -> None:
    behaviour = Behaviour(timestamps=timestamps, segments_in_packet=4 if suite is WHOLE else 1)
    world, client, server = connected(suite, behaviour, filters=[LoseOnce(20, 30, 31, 40, 42, 44)], version=version)
    assert (client.sack, server.sack) == (True, True)
    world.exchange(client, server, 100_000)
    world.assert_encrypted()
    assert client.timeouts == 0
    assert client.blocks_seen
    assert_true(client.blocks_seen, len(client.received) + 100_000)
    # One beside timestamps, two without.
    assert {len(value) for value in blocks_on_the_wire(world)} <= ({8} if timestamps else {8, 16})
    assert max(len(crossing.segment.option_area) for crossing in world.link.log) <= 40


@pytest.mark.parametrize("seed", range(6))
def test_loss_reordering_and_duplicates_in_both_directions(seed: int) -> None:
    conditions = Conditions(loss=0.03, reordering=0.1, duplication=0.03)
    world, client, server = connected(MODERN, conditions=conditions, seed=seed)
    world.exchange(client, server, SIZE)
    world.close(client, server)
    world.assert_encrypted()
    assert client.blocks_seen
    assert server.blocks_seen
    assert_true(client.blocks_seen, SIZE + 20)
    assert_true(server.blocks_seen, SIZE + 20)


def test_it_is_several_times_as_fast_under_loss() -> None:
    took = {}
    for sack in (True, False):
        world, client, server = connected(MODERN, Behaviour(sack=sack), conditions=Conditions(loss=0.05), seed=3)
        client.write(text(SIZE))
        before = world.clock.now
        assert world.clock.run_until(lambda: len(server.received) == SIZE, LIMIT), world.trace()  # noqa: B023
        took[sack] = world.clock.now - before
        assert bool(blocks_on_the_wire(world)) == sack
    assert took[True] < took[False]


@pytest.mark.parametrize("suite", [ORIGINAL, FROM_ORIGINAL, TO_ORIGINAL])
def test_the_original_and_its_suite_go_without(suite: Suite) -> None:
    world, client, server = connected(suite, filters=[drop_nth(has_payload, 12, 15)])
    assert (client.sack, server.sack) == (False, False)
    world.exchange(client, server, 50_000)
    world.assert_encrypted()
    assert blocks_on_the_wire(world) == []


def test_a_plain_peer_keeps_them() -> None:
    for world in (World(client=make_engine("c")), World(server=make_engine("s"))):
        client, server = world.connect()
        assert (client.sack, server.sack) == (True, True)
        world.exchange(client, server)
        world.assert_plain()


def test_a_resumed_session_has_them() -> None:
    world, client, server = connected(MODERN)
    world.exchange(client, server)
    world.close(client, server)
    client, server = world.connect(port=40_001)
    assert (client.sack, server.sack) == (True, True)
    world.exchange(client, server)
    world.assert_encrypted()


def test_they_are_covered_by_the_mac() -> None:
    def forge(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        value = segment.option(options.SACK)
        if value is None:
            return [crossing.packet]
        forged = bytes((value[0] ^ 1, *value[1:]))
        return [segment.edited(option_area=options.replace(segment.option_area, {options.SACK: forged}))]

    world, client, server = connected(MODERN, filters=[drop_nth(has_payload, 12), forge])
    client.write(text(50_000))
    assert world.clock.run_until(lambda: len(server.received) == 50_000, LIMIT)
    assert blocks_on_the_wire(world)
    assert client.blocks_seen == []
    assert world.ours.counters()["integrity_failures"] > 0


def test_an_application_that_allows_the_originals_suite_alone_goes_without() -> None:
    world = World.encrypting(ALL)
    specs = (ORIGINAL.symmetric[0].spec,)
    for host, port in ((world.client, 40_000), (world.server, PORT)):
        options_of_host = ConnectionOptions(client_ciphers=specs, server_ciphers=specs)
        host.daemon.set_options(options_of_host, Endpoint(host.address, port))
    client, server = world.connect()
    world.exchange(client, server)
    world.assert_encrypted()
    assert (client.sack, server.sack) == (False, False)
