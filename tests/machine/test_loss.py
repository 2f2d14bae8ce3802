"""Handshake packets that are lost, repeated or late: the connection is encrypted all the same."""

from itertools import combinations

import pytest

from tests.machine.link import Conditions, any_packet, drop_nth, has_payload, repeat, sent_by
from tests.machine.world import ENO, LIMIT, MODERN, ORIGINAL, Suite, World, text

SUITES = pytest.mark.parametrize("suite", [ORIGINAL, MODERN, ENO], ids=["original", "modern", "eno"])
FIRST_SPEAKER = pytest.mark.parametrize("first", ["client", "server", "both"])
HANDSHAKE = range(1, 8)
"""SYN, SYN ACK, INIT1, INIT2, the ACK, and the first data."""


def talk(world: World, first: str) -> None:
    """One side speaks first, the other answers, or both speak at once; then both close."""
    client, server = world.connect()
    if first == "both":
        world.exchange(client, server, 3000)
    else:
        speaker, listener = (client, server) if first == "client" else (server, client)
        speaker.write(text(3000))
        assert world.clock.run_until(lambda: bytes(listener.received) == text(3000), LIMIT), world.trace()
        listener.write(text(4000))
        assert world.clock.run_until(lambda: bytes(speaker.received) == text(4000), LIMIT), world.trace()
    world.close(client, server)


@SUITES
@FIRST_SPEAKER
@pytest.mark.parametrize("lost", HANDSHAKE)
def test_one_packet_is_lost(suite: Suite, first: str, lost: int) -> None:
    world = World.encrypting(suite, filters=[drop_nth(any_packet, lost)])
    talk(world, first)
    world.assert_encrypted()


@SUITES
@pytest.mark.parametrize("first", ["client", "server"])
def test_two_packets_are_lost(suite: Suite, first: str) -> None:
    for lost in combinations(HANDSHAKE, 2):
        world = World.encrypting(suite, filters=[drop_nth(any_packet, *lost)])
        talk(world, first)
        world.assert_nothing_in_clear() if world.session_ids()[0] else world.assert_plain()
        world.assert_healthy()
        assert world.session_ids()[0] == world.session_ids()[1], lost


@SUITES
@FIRST_SPEAKER
def test_every_packet_comes_twice(suite: Suite, first: str) -> None:
    world = World.encrypting(suite, filters=[repeat(any_packet)])
    talk(world, first)
    world.assert_encrypted()


@pytest.mark.parametrize("delay", [0.2, 0.4, 0.9])
def test_a_long_path(delay: float) -> None:
    world = World.encrypting(conditions=Conditions(delay=delay))
    talk(world, "client")
    world.assert_encrypted()


@SUITES
def test_packets_overtake_one_another(suite: Suite) -> None:
    for seed in range(20):
        world = World.encrypting(suite, seed=seed, conditions=Conditions(reordering=0.5))
        talk(world, "both")
        world.assert_encrypted()


@pytest.mark.parametrize("sender", ["client", "server"])
def test_the_whole_first_flight_of_data_is_lost(sender: str) -> None:
    def first_data(crossing: object) -> bool:
        return has_payload(crossing) and sent_by(sender)(crossing)  # type: ignore[arg-type]

    world = World.encrypting(filters=[drop_nth(first_data, 1, 2, 3)])
    talk(world, "both")
    world.assert_encrypted()
