"""AccECN (RFC 9768): kept where a connection is plain, declined on purpose where it is encrypted."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.wire.segment import ACK, AE, CWR, ECE, SYN
from tests.machine.endpoint import Behaviour, Socket
from tests.machine.link import Crossing, has_flags
from tests.machine.world import ALL, ENO, PORT, Suite, World, make_engine

ACCURATE = Behaviour(accurate_ecn=True)
SUITES = pytest.mark.parametrize("suite", [ALL, ENO, replace(ALL, whole_packets=True)], ids=["crypt", "eno", "whole"])
NO_COUNT = 5
"""The ACE field of a host that has seen no mark."""


def talk(
    client: Engine | None,
    server: Engine | None,
    *,
    change: Callable[[Crossing], list[bytes]] | None = None,
    behaviours: tuple[Behaviour, Behaviour] = (ACCURATE, ACCURATE),
) -> tuple[World, Socket, Socket]:
    world = World(client=client, server=server, filters=[change] if change else [])
    world.server.stack.listen(PORT, behaviours[1])
    ends = world.connect(behaviour=behaviours[0])
    world.exchange(*ends)
    world.close(*ends)
    return world, *ends


@pytest.mark.parametrize("side", ["client", "server", "neither", "both"])
@SUITES
def test_a_plain_connection_keeps_it(side: str, suite: Suite) -> None:
    """With our option in the SYN, where the client's daemon offers and nobody answers; `both` answer nothing."""
    silent = EngineConfig(answers=())
    world, client, server = talk(
        make_engine("c", suite) if side in ("client", "both") else None,
        make_engine("s", suite, silent) if side in ("server", "both") else None,
    )
    assert (client.ecn_mode, server.ecn_mode) == ("accurate", "accurate")
    assert client.counters_seen == server.counters_seen == {NO_COUNT}
    world.assert_plain()


@SUITES
def test_an_encrypted_connection_has_classic_ecn(suite: Suite) -> None:
    world, client, server = talk(make_engine("c", suite), make_engine("s", suite))
    assert (client.ecn_mode, server.ecn_mode) == ("classic", "classic")
    world.assert_encrypted()


@pytest.mark.parametrize("code", range(8))
@SUITES
def test_what_a_peer_answers_that_speaks_the_protocol_itself(suite: Suite, code: int) -> None:
    """Its SYN ACK can accept AccECN: the local kernel is told of no ECN. What is no acceptance stays as it is."""

    def answered(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not has_flags(SYN | ACK, SYN | ACK)(crossing):
            return [crossing.packet]
        return [segment.edited(reserved=code >> 2, flags=segment.flags & ~(ECE | CWR) | (code & 3) << 6)]

    world, client, _ = talk(make_engine("c", suite), make_engine("s", suite), change=answered)
    assert client.ecn_mode == ("classic" if code in (1, 5) else "")
    world.assert_encrypted()


@SUITES
def test_classic_ecn_stays_what_it_is(suite: Suite) -> None:
    classic = Behaviour(ecn=True)
    for behaviours in ((classic, ACCURATE), (ACCURATE, classic), (classic, classic)):
        world, client, server = talk(make_engine("c", suite), make_engine("s", suite), behaviours=behaviours)
        assert (client.ecn_mode, server.ecn_mode) == ("classic", "classic")
        world.assert_encrypted()


def test_the_offer_is_in_the_syn_whatever_comes_of_it() -> None:
    world, _, _ = talk(make_engine("c", ENO), None)
    syn = world.link.log[0].segment
    assert (syn.reserved & AE, syn.flags & (ECE | CWR)) == (AE, ECE | CWR)
