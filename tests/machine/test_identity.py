"""Host identities with both protocols: who is let in, what is said of it, and what a later connection inherits."""

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import ConnectionState
from tcpcryptd.core.protocol import Outcome
from tcpcryptd.core.verdict import Action, Direction
from tcpcryptd.crypto import identity
from tcpcryptd.identity.authenticator import Authenticator
from tcpcryptd.identity.learned import LearnedKeys
from tcpcryptd.identity.proof import HostKey
from tcpcryptd.identity.public_key import fingerprint, key_line
from tcpcryptd.wire.segment import ACK, SYN, make, reverse_key
from tests.machine.identities import (
    BOTH,
    CLIENT,
    KEYS,
    PROTOCOLS,
    SERVER,
    authenticator,
    counted,
    engine,
    outcomes,
    refusals,
    trust,
)
from tests.machine.link import MAC, Crossing, drop_nth
from tests.machine.test_limits import flood_syn
from tests.machine.world import ALL, EACH_SIDE, ENO, Suite, World, make_engine

pytestmark = PROTOCOLS
AUTHENTICATED = Outcome.AUTHENTICATED
FRAME = 20
"""Bytes of a frame without data."""


def world_of(suite: Suite, client: Authenticator | None, server: Authenticator | None) -> World:
    return World(client=engine(client, 1, suite=suite), server=engine(server, 2, suite=suite))


@pytest.mark.parametrize("classical", [False, True])
@pytest.mark.parametrize("requires", [False, True])
def test_both_hosts_know_each_other(suite: Suite, classical: bool, requires: bool) -> None:
    world = World(
        client=engine(authenticator("client"), 1, suite=suite, requires=requires, classical=classical),
        server=engine(authenticator("server"), 2, suite=suite, requires=requires, classical=classical),
    )
    client, server = world.connect()
    world.exchange(client, server)
    world.assert_encrypted()
    assert outcomes(world.client) == [(AUTHENTICATED, "server")]
    assert outcomes(world.server) == [(AUTHENTICATED, "client")]
    world.close(client, server)
    assert refusals(world.client) == refusals(world.server) == []


def test_what_the_control_socket_is_told(suite: Suite) -> None:
    world = World(
        client=engine(authenticator("client"), 1, suite=suite), server=engine(authenticator("server"), 2, suite=suite)
    )
    client, server = world.connect()
    world.exchange(client, server)
    info = world.client.daemon.connection(*world.ends(client))
    assert info is not None
    assert info.peer is not None
    assert (info.peer.name, info.peer.key) == ("server", fingerprint(KEYS["server"]))


@pytest.mark.parametrize("loses", [None, "client", "server"])
def test_both_know_each_other_before_there_is_data(suite: Suite, loses: str | None) -> None:
    """Who speaks first has nothing to wait for: a frame or ACK without data shows who the other one is."""

    def shows_keys(each: Crossing) -> bool:
        is_empty = each.segment.payload_length == (FRAME if suite is ENO else 0)
        return each.sender == loses and is_empty and (suite is ENO or each.segment.option(MAC) is not None)

    world = World(
        client=engine(authenticator("client"), 1, suite=suite),
        server=engine(authenticator("server"), 2, suite=suite),
        filters=[drop_nth(shows_keys, 1, 2)] if loses else [],
    )
    for number in (1, 2):
        client, server = world.connect(port=40_000 + number)
        world.clock.run_for(5)
        assert outcomes(world.server) == [(AUTHENTICATED, "client")] * number
        assert outcomes(world.client) == [(AUTHENTICATED, "server")] * number
        world.exchange(client, server)
        world.close(client, server)
    world.assert_healthy()


@pytest.mark.parametrize("with_identity", ["client", "server"])
def test_one_side_has_an_identity(suite: Suite, with_identity: str) -> None:
    other = "server" if with_identity == "client" else "client"
    engines = {
        with_identity: engine(authenticator(with_identity), 1, suite=suite),
        other: engine(authenticator(None), 2, suite=suite),
    }
    world = World(client=engines["client"], server=engines["server"])
    client, server = world.connect()
    world.exchange(client, server)
    world.assert_encrypted()
    hosts = {"client": world.client, "server": world.server}
    assert outcomes(hosts[other]) == [(AUTHENTICATED, with_identity)]
    assert outcomes(hosts[with_identity]) == [(Outcome.ABSENT, "")]


@pytest.mark.parametrize("classical", [False, True])
def test_a_host_without_identities_goes_along(suite: Suite, classical: bool) -> None:
    for first, second in ((authenticator("client"), None), (None, authenticator("server"))):
        world = World(
            client=engine(first, 1, suite=suite, classical=classical),
            server=engine(second, 2, suite=suite, classical=classical),
        )
        client, server = world.connect()
        world.exchange(client, server)
        world.assert_encrypted()
        assert AUTHENTICATED not in [outcome for host in world.hosts for outcome, _ in outcomes(host)]


@pytest.mark.parametrize("requiring", ["client", "server"])
@pytest.mark.parametrize(
    "peer", ["no daemon", "the other protocol", "no identities", "no identity", "unknown", "another key", "revoked"]
)
def test_who_is_refused_where_identity_is_required(suite: Suite, requiring: str, peer: str) -> None:
    other = "server" if requiring == "client" else "client"
    lists = {
        "unknown": f"10.9.9.9 {key_line(KEYS[other])}",
        "another key": f"{CLIENT},{SERVER} {key_line(KEYS['mallory'])}",
        "revoked": f"{BOTH}@revoked * {key_line(KEYS[other])}",
    }
    ours = authenticator(requiring, lists.get(peer, BOTH))
    theirs: Engine | None = engine(authenticator(other), 2, suite=suite)
    if peer == "no daemon":
        theirs = None
    elif peer == "no identities":
        theirs = engine(None, 2, suite=suite)
    elif peer == "the other protocol":
        theirs = engine(None, 2, suite=ALL if suite is ENO else ENO)
    elif peer == "no identity":
        theirs = engine(authenticator(None), 2, suite=suite)
    engines = {requiring: engine(ours, 1, suite=suite, requires=True), other: theirs}
    world = World(client=engines["client"], server=engines["server"])
    assert_refused(world, requiring)


def assert_refused(world: World, requiring: str) -> None:
    """The client's socket fails, nothing was delivered, and no byte of either application's was on the wire."""
    client = world.open(data=b"<plaintext MARK>" * 100)
    world.clock.run_for(100)
    assert client.error is not None, world.trace()
    assert not client.received
    assert all(not each.received for each in world.server.stack.accepted)
    world.assert_nothing_in_clear()
    host = world.host(requiring)
    assert refusals(host)
    assert AUTHENTICATED not in [outcome for outcome, _ in outcomes(host)]
    world.assert_healthy()


@EACH_SIDE
@pytest.mark.parametrize("case", ["another key", "revoked"])
def test_a_wrong_key_is_refused_though_nothing_is_required(suite: Suite, side: str, case: str) -> None:
    other = "server" if side == "client" else "client"
    peers = {
        "another key": f"{CLIENT},{SERVER} {key_line(KEYS['mallory'])}",
        "revoked": f"@revoked * {key_line(KEYS[other])}",
    }[case]
    engines = {
        side: engine(authenticator(side, peers), 1, suite=suite),
        other: engine(authenticator(other), 2, suite=suite),
    }
    world = World(client=engines["client"], server=engines["server"])
    assert_refused(world, side)
    host = world.host(side)
    assert counted(host) == {"changed" if case == "another key" else "revoked": len(refusals(host))}


def test_a_refused_connection_and_its_peer_are_remembered(suite: Suite) -> None:
    world = world_of(suite, authenticator("client", f"{SERVER} {key_line(KEYS['mallory'])}"), authenticator("server"))
    assert_refused(world, "client")
    (info,) = world.client.daemon.connections()
    assert info.state is ConnectionState.CLOSED
    assert info.reason == f"refused: {refusals(world.client)[0]}"
    assert info == world.client.daemon.connection(info.local, info.remote)
    (host,) = world.client.daemon.hosts()
    assert (host.address, host.peer.outcome) == (SERVER, "changed")
    # The next one from there takes its place.
    client = world.open()
    world.clock.run_for(0.1)
    assert client.error is not None
    assert len(list(world.client.daemon.connections())) == 1


def test_a_host_is_remembered_when_its_connections_are_over(suite: Suite) -> None:
    world = world_of(suite, authenticator("client"), authenticator("server"))
    assert not resumed(world, 40_000)
    (before,) = world.client.daemon.hosts()
    world.clock.run_for(600)
    assert not list(world.client.daemon.connections())
    (host,) = world.client.daemon.hosts()
    assert (host.address, host.peer.name) == (SERVER, "server")
    assert before.last_seen <= host.last_seen < world.clock.now - 590


def test_an_unknown_key_is_let_in_and_said(suite: Suite) -> None:
    world = World(
        client=engine(authenticator("client", ""), 1, suite=suite),
        server=engine(authenticator("server", ""), 2, suite=suite),
    )
    client, server = world.connect()
    world.exchange(client, server)
    world.assert_encrypted()
    assert outcomes(world.client) == outcomes(world.server) == [(Outcome.UNKNOWN, "")]


def test_first_use(suite: Suite) -> None:
    learned = LearnedKeys()
    world = World(
        client=engine(authenticator("client", "", learned), 1, suite=suite),
        server=engine(authenticator("server", ""), 2, suite=suite),
    )
    for port in (40_000, 40_001):
        world.talk(port=port)
    assert outcomes(world.client) == [(Outcome.FIRST_USE, ""), (AUTHENTICATED, SERVER)]
    assert list(learned.items()) == [(SERVER, KEYS["server"])]


def test_nothing_is_learned_where_identity_is_required(suite: Suite) -> None:
    learned = LearnedKeys()
    world = World(
        client=engine(authenticator("client", "", learned), 1, suite=suite, requires=True),
        server=engine(authenticator("server", ""), 2, suite=suite),
    )
    assert_refused(world, "client")
    assert len(learned) == 0


def resumed(world: World, port: int) -> bool:
    """Connects once more; whether the session was resumed, at both ends."""
    client, server = world.connect(port=port)
    world.exchange(client, server)
    info = world.client.daemon.connection(*world.ends(client))
    world.close(client, server)
    assert info is not None
    return info.resumed


@pytest.mark.parametrize("requires", [False, True])
def test_a_resumed_session_keeps_the_identity(suite: Suite, requires: bool) -> None:
    world = World(
        client=engine(authenticator("client"), 1, suite=suite, requires=requires),
        server=engine(authenticator("server"), 2, suite=suite, requires=requires),
    )
    assert not resumed(world, 40_000)
    assert resumed(world, 40_001)
    assert resumed(world, 40_002)
    assert outcomes(world.client) == [(AUTHENTICATED, "server")] * 3
    assert outcomes(world.server) == [(AUTHENTICATED, "client")] * 3
    world.assert_healthy()


def test_a_session_is_not_resumed_with_a_peer_that_is_believed_no_more(suite: Suite) -> None:
    ours = authenticator("client")
    world = world_of(suite, ours, authenticator("server"))
    assert not resumed(world, 40_000)
    ours.trust = trust(f"{BOTH}@revoked * {key_line(KEYS['server'])}")
    client = world.open(port=40_001)
    world.clock.run_for(100)
    assert client.error is not None
    assert len(refusals(world.client)) == 1


def test_a_session_of_an_unknown_peer_is_not_resumed_for_one_that_must_be_known(suite: Suite) -> None:
    ours = authenticator("client", "")
    world = world_of(suite, ours, authenticator("server"))
    assert not resumed(world, 40_000)
    # The same key is listed now, so that the session serves, and the peer has a name.
    ours.trust = trust(BOTH)
    assert resumed(world, 40_001)
    assert outcomes(world.client) == [(Outcome.UNKNOWN, ""), (AUTHENTICATED, "server")]


@EACH_SIDE
def test_open_connections_end_when_a_peer_is_believed_no_more(suite: Suite, side: str) -> None:
    identities = {name: authenticator(name) for name in ("client", "server")}
    world = World(
        client=engine(identities["client"], 1, suite=suite), server=engine(identities["server"], 2, suite=suite)
    )
    client, server = world.connect()
    world.exchange(client, server)
    host = world.host(side)
    host.daemon.review_identities(identities[side].recall)
    world.clock.run_for(1)
    assert (client.error, server.error) == (None, None)
    identities[side].trust = trust("")
    host.daemon.review_identities(identities[side].recall)
    host.collect()
    world.clock.run_for(1)
    assert client.error is not None
    assert server.error is not None
    assert len(refusals(host)) == 1


@pytest.mark.interpreted
def test_signatures_are_made_once_for_each_key_exchange(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(name)
            return function(*arguments)

        return call

    for owner, name in ((HostKey, "prove"), (identity, "is_signed")):
        monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
    world = World(
        client=engine(authenticator("client"), 1, suite=suite), server=engine(authenticator("server"), 2, suite=suite)
    )
    assert not resumed(world, 40_000)
    assert sorted(calls) == ["is_signed", "is_signed", "prove", "prove"]
    assert resumed(world, 40_001)
    assert len(calls) == 4


@pytest.mark.parametrize("requires", [False, True])
def test_a_flood_keeps_nobody_elses_connections_from_being_answered(suite: Suite, requires: bool) -> None:
    """Where identity is required of the network that the flood says it comes from, its handshakes make room as well."""
    eno = suite.eno.with_identities(authenticator("server"))
    flooded = (ip_network("11.0.0.0/8"),) if requires else ()
    config = EngineConfig(required_identity=flooded, max_opening=50)
    server = make_engine("server", replace(suite, eno=eno), config)
    offer = b"\x45\x03\x23" if suite is ENO else b"\x45\x02"
    for number in range(200):
        action, *_ = server.handle_packet(flood_syn(number, offer), Direction.IN, 1000.0)
        assert action is Action.MODIFY
    world = World(client=make_engine("client", suite), server=server)
    world.exchange(*world.connect())
    world.assert_encrypted()


def test_a_syn_that_cannot_be_read_is_not_answered_in_clear(suite: Suite) -> None:
    """Of a peer that must be authenticated."""
    server = engine(authenticator("server"), 2, suite=suite, requires=True)
    key = b"".join((ip_address("fd00::1").packed, ip_address("fd00::2").packed, b"\x9c\x40\x00\x50"))
    syn = make(key, sequence=1, acknowledgment=0, flags=SYN, window=1000)
    headers = b"".join(bytes((each, 0, 1, 4, 0, 0, 0, 0)) for each in (60,) * 9 + (6,))
    length = (len(syn) - 40 + len(headers)).to_bytes(2, "big")
    packet = syn[:4] + length + bytes((60,)) + syn[7:40] + headers + syn[40:]
    assert server.handle_packet(packet, Direction.IN, 1.0)[0] is Action.DROP
    answer = make(reverse_key(key), sequence=9, acknowledgment=2, flags=SYN | ACK, window=1000)
    assert server.handle_packet(answer, Direction.OUT, 1.0)[0] is Action.DROP
    # Nobody has to prove anything here.
    other = engine(authenticator("server"), 2, suite=suite)
    assert other.handle_packet(answer, Direction.OUT, 1.0)[0] is Action.ACCEPT


def memory_of_a_connection(suite: Suite, names: tuple[str | None, str | None]) -> float:
    """Bytes that an open connection takes at one host, with what it has left to be resumed."""
    client, server = (
        engine(authenticator(name) if name is not None else None, seed, suite=suite, classical=True)
        for seed, name in enumerate(names)
    )
    world = World(client=client, server=server)
    used = [0, 0]
    tracemalloc.start()
    try:
        for at, ports in enumerate((range(2000, 2020), range(3000, 3060))):
            for port in ports:
                client.flush_sessions()
                server.flush_sessions()
                world.exchange(*world.connect(port=port), 100)
                world.link.log.clear()
            for host in world.hosts:
                host.events.clear()
            world.clock.run_for(100)
            world.link.log.clear()
            gc.collect()
            used[at] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return (used[1] - used[0]) / 60 / 2


@pytest.mark.interpreted
def test_the_memory_that_an_identity_takes(suite: Suite) -> None:
    """Of the connections; what is known of a host is there once."""
    without, both = (memory_of_a_connection(suite, names) for names in ((None, None), ("client", "server")))
    assert both - without < 300
