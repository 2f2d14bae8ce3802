"""Post-quantum key agreement, with either protocol: who has it, who requires it, and where key pairs come from."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.crypto.ecdhe import ECDHE_SCHEMES
from tcpcryptd.crypto.key_pool import KeyPool
from tcpcryptd.crypto.suites import AES_SIV_CMAC_256, RSA_2048, X25519_HPKE
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.constants import ENO as ENO_KIND
from tests.machine.endpoint import Socket
from tests.machine.link import SYN_ALONE
from tests.machine.world import ALL, ENO, LIMIT, TO_ORIGINAL, Suite, World, make_engine, text

HYBRID = f"MLKEM768-X25519-HPKE/{AES_SIV_CMAC_256.name}"
CLASSICAL = f"X25519-HPKE/{AES_SIV_CMAC_256.name}"
WITH = {"crypt": ALL, "eno": ENO}
WITHOUT = {"crypt": Suite((X25519_HPKE, RSA_2048)), "eno": replace(ENO, eno=EnoConfig(ECDHE_SCHEMES))}
SUITES = {"crypt": (CLASSICAL, HYBRID), "eno": ("ECDHE-Curve25519/AES-128-GCM", "MLKEM768-X25519/AES-128-GCM")}
"""What is agreed on without it, and with it."""
EACH_PROTOCOL = pytest.mark.parametrize("protocol", ["crypt", "eno"])
REQUIRED = EngineConfig(required_post_quantum=(ip_network("10.0.0.0/8"),))


def suite_of(world: World, client: Socket) -> str | None:
    info = world.client.daemon.connection(*world.ends(client))
    assert info is not None
    return info.suite


def outcome(engine: Engine) -> dict[str, int]:
    kinds = ("post_quantum", "classical_")
    return {name: count for name, count in engine.counters().items() if name.startswith(kinds) and count}


@EACH_PROTOCOL
@pytest.mark.parametrize(
    ("has_it", "counted"),
    [
        ((True, True), ("post_quantum", "post_quantum")),
        ((True, False), ("classical_peer", "classical_setting")),
        ((False, True), ("classical_setting", "classical_peer")),
        ((False, False), ("classical_setting", "classical_setting")),
    ],
    ids=["both", "client", "server", "neither"],
)
def test_who_has_it(protocol: str, has_it: tuple[bool, bool], counted: tuple[str, str]) -> None:
    """A session that is resumed has what it had before."""
    client, server = ((WITH if each else WITHOUT)[protocol] for each in has_it)
    world = World(client=make_engine("c", client), server=make_engine("s", server))
    for port in (40_000, 40_001):
        ends = world.connect(port=port)
        world.exchange(*ends)
        assert suite_of(world, ends[0]) == SUITES[protocol][all(has_it)]
        world.close(*ends)
    for host, counter in zip(world.hosts, counted, strict=True):
        assert outcome(host.daemon) == ({counter: 2} if all(has_it) else {counter: 1, "classical_resumed": 1})
        infos = list(host.daemon.connections())
        assert {info.post_quantum for info in infos} == {all(has_it)}
        assert [event.resumed for event in host.negotiated] == [False, True]
    world.assert_encrypted()


@pytest.mark.parametrize(
    ("protocol", "peer"),
    [
        ("crypt", WITHOUT["crypt"]),
        ("crypt", TO_ORIGINAL),
        ("crypt", None),
        ("eno", WITHOUT["eno"]),
        ("eno", None),
    ],
    ids=["crypt", "original", "crypt and no daemon", "eno", "eno and no daemon"],
)
def test_a_destination_that_requires_it_fails_without(protocol: str, peer: Suite | None) -> None:
    client = make_engine("c", WITH[protocol], REQUIRED)
    if peer is TO_ORIGINAL:
        world = World.encrypting(peer)
        world.client.start_engine(client)
    else:
        world = World(client=client, server=make_engine("s", peer) if peer else None)
    connection = world.open(data=text(3000))
    world.clock.run_for(2 * LIMIT)
    assert connection.error is not None
    assert not any(each.received for each in world.server.stack.accepted)
    world.assert_nothing_in_clear()
    assert client.counters()["refused"] == 1
    assert_offers_nothing_less(world, protocol)


def assert_offers_nothing_less(world: World, protocol: str) -> None:
    """No SYN of the client's offers TCP-ENO with a key agreement of another kind."""
    offers = {each.segment.option(ENO_KIND) for each in world.link.log if SYN_ALONE(each)} if protocol == "eno" else ()
    assert all(offer is not None and b"\x23" not in offer[:1] for offer in offers)


@EACH_PROTOCOL
def test_a_destination_that_requires_it_has_it(protocol: str) -> None:
    world = World(client=make_engine("c", WITH[protocol], REQUIRED), server=make_engine("s"))
    for port in (40_000, 40_001):
        client, server = world.connect(port=port)
        world.exchange(client, server)
        assert suite_of(world, client) == SUITES[protocol][True]
        world.close(client, server)
    world.assert_encrypted()
    assert_offers_nothing_less(world, protocol)


@EACH_PROTOCOL
def test_each_key_exchange_takes_a_key_pair_that_was_made_before(protocol: str) -> None:
    pools = {"client": KeyPool(3), "server": KeyPool(3)}
    for pool in pools.values():
        while pool.is_short():
            pool.refill()
    engines = [make_engine(name, WITH[protocol], kem_keys=pool) for name, pool in pools.items()]
    world = World(client=engines[0], server=engines[1])
    keys = []
    for number in range(6):
        client, server = world.connect(port=40_000 + number)
        world.exchange(client, server, 1000)
        info = engines[0].connection(*world.ends(client))
        assert info is not None
        keys.append(info.public_key)
        world.close(client, server)
        # Sessions that are resumed need none.
        if number < 3:
            assert len(pools["client"]) == 2
        if number > 1:
            engines[0].flush_sessions()
    assert (len(pools["client"]), pools["client"].made_on_demand) == (0, 1)
    # Who answers makes none.
    assert (len(pools["server"]), pools["server"].made_on_demand) == (3, 0)
    if protocol == "crypt":
        assert len({keys[0], *keys[3:]} - {None}) == 4
