"""Where identity is required, nothing passes in clear, whatever somebody does before there are keys."""

from dataclasses import replace

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import ConnectionInfo
from tcpcryptd.core.protocol import Outcome
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypt.handshake.messages import Init1
from tcpcryptd.crypto.suites import X25519_HPKE
from tcpcryptd.identity.identification import IDENTITY
from tcpcryptd.identity.proof import HostKey, Part, Role
from tcpcryptd.identity.public_key import key_line
from tcpcryptd.wire import extension, options
from tcpcryptd.wire.segment import ACK, RST, SYN, locate, make
from tests.machine.host import Host
from tests.machine.identities import (
    CLIENT,
    EVERYBODY,
    KEYS,
    PROTOCOLS,
    SEEDS,
    authenticator,
    counted,
    engine,
    outcomes,
    refusals,
)
from tests.machine.link import CRYPT, Crossing, Filter, drop_nth
from tests.machine.original_state import find
from tests.machine.world import ALL, ENO, MARKER, Suite, World, make_engine, text


def world_of(suite: Suite, filters: list[Filter], *, requires: bool = True) -> World:
    return World(
        client=engine(authenticator("client"), 1, suite=suite),
        server=engine(authenticator("server"), 2, suite=suite, requires=requires),
        filters=filters,
    )


def serve(world: World) -> None:
    """The server's application speaks first."""
    greeted: set[int] = set()
    for _ in range(100):
        world.clock.run_for(0.3)
        for each in world.server.stack.accepted:
            if id(each) not in greeted and each.error is None:
                greeted.add(id(each))
                each.write(text(100))


def assert_nothing_passed(world: World) -> None:
    assert all(MARKER not in each.segment.payload for each in world.link.log if each.sender == "server"), world.trace()
    assert all(not each.received for each in world.server.stack.accepted), world.trace()
    assert refusals(world.server)
    world.assert_healthy()


def infos(host: Host) -> list[ConnectionInfo]:
    assert isinstance(host.engine, Engine)
    return list(host.engine.connections())


@pytest.mark.parametrize("damages", [False, True])
@pytest.mark.parametrize("suite", [None, ALL, ENO], ids=["new", "crypt", "eno"])
def test_a_syn_without_offer_that_is_sent_again(suite: Suite | None, damages: bool) -> None:
    """The reset of the first one is lost, or its sender does not care.

    Also where a connection was reset: then the kernel decides on a SYN. It answers the right one, when a damaged one
    with the same number follows.
    """
    syns = 0

    def attack(crossing: Crossing) -> list[bytes]:
        nonlocal syns
        if world.client.engine is not None or not crossing.segment.flags & (RST | SYN):
            return [crossing.packet]
        if crossing.segment.flags & RST:
            return []
        syns += crossing.sender == "client"
        changed = bytearray(crossing.packet)
        changed[-1] ^= 1
        return [crossing.packet, bytes(changed)] if damages and crossing.sender == "client" else [crossing.packet]

    server = engine(authenticator("server"), 2, suite=ALL, requires=True)
    client = None if suite is None else engine(authenticator("client"), 1, suite=suite)
    world = World(client=client, server=server, filters=[attack])
    if suite is not None:
        world.connect()
        (info,) = infos(world.server)
        assert server.reset(info.local, info.remote)
        world.server.collect()
        world.clock.run_for(5)
        world.client.kill_engine()
        world.client.tracked.clear()
        world.server.stack.accepted.clear()
    socket = world.open(data=text(2_000))
    serve(world)
    assert syns > 1
    assert not socket.received
    assert_nothing_passed(world)


@pytest.mark.interpreted
def test_syns_without_offer_push_out_nothing_that_was_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcpcryptd.core.services.MAX_TOMBSTONES", 3)
    server = engine(authenticator("server"), 2, suite=ALL, requires=True)
    world = World(client=engine(authenticator("client"), 1, suite=ALL), server=server)
    world.connect()
    (info,) = infos(world.server)
    assert server.reset(info.local, info.remote)
    world.clock.run_for(5)
    world.client.kill_engine()
    world.client.tracked.clear()
    for port in range(40_001, 40_009):
        world.open(port=port)
    world.clock.run_for(5)
    assert len(refusals(world.server)) == 8
    assert server.was_reset(info.local, info.remote)


@PROTOCOLS
def test_a_first_message_that_becomes_a_bare_acknowledgment(suite: Suite) -> None:
    """The server's kernel would send what its application has to say, in clear."""

    def bare(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if crossing.sender != "client" or segment.flags & SYN or segment.option(CRYPT) is None:
            return [crossing.packet]
        return [segment.edited(option_area=options.replace(segment.option_area, {CRYPT: None}), payload=b"")]

    world = world_of(suite, [bare])
    world.open()
    serve(world)
    assert_nothing_passed(world)


def test_a_second_first_message_that_cannot_be_used_leaves_the_identity() -> None:
    """Who is trusted at the same address signs one after the client's: the keys stay the client's, so does the name."""
    mallory, transcript = HostKey(SEEDS["mallory"]), b""

    def add_another(crossing: Crossing) -> list[bytes]:
        nonlocal transcript
        segment, sent = crossing.segment, [crossing.packet]
        if segment.flags & SYN:
            transcript += options.encode(CRYPT, segment.option(CRYPT) or b"")
        elif find(segment, Opcode.INIT1) is not None:
            first = Init1.decode(segment.payload)
            # A key of low order.
            bad = Init1(first.symmetric_specs, first.nonce, X25519_HPKE.spec, bytes(32)).encode()
            unsigned = bad + extension.encode({IDENTITY: mallory.unsigned})
            proof = mallory.prove(Part(b"crypt", Role.INITIATOR, transcript, unsigned))
            sent.append(segment.edited(payload=bad + extension.encode({IDENTITY: proof})))
        return sent

    peers = "".join(f"{name},{CLIENT} {key_line(KEYS[name])}\n" for name in ("client", "mallory"))
    world = World(
        client=engine(authenticator("client"), 1, suite=ALL),
        server=engine(authenticator("server", peers), 2, suite=ALL, requires=True),
        filters=[add_another],
    )
    world.exchange(*world.connect())
    assert world.server.daemon.counters()["bad_init1"] == 1
    assert outcomes(world.server) == [(Outcome.AUTHENTICATED, "client")]


@PROTOCOLS
@pytest.mark.parametrize("requires", [False, True])
def test_a_refused_connection_is_not_said_to_be_with_whom_the_last_one_was(suite: Suite, requires: bool) -> None:
    """A session that was offered to be resumed shows nothing before it is."""
    config = EngineConfig(required=EVERYBODY, required_identity=EVERYBODY if requires else ())
    own = authenticator("client")
    world = World(
        client=make_engine(1, replace(suite, eno=suite.eno.with_identities(own)), config),
        server=engine(authenticator("server"), 2, suite=suite),
    )
    world.close(*world.connect())
    world.server.kill_engine()
    world.server.tracked.clear()
    before = dict(counted(world.client))
    again = world.open(port=40_001)
    world.clock.run_for(30)
    assert again.error is not None
    refused = [info for info in infos(world.client) if (info.reason or "").startswith("refused")]
    assert [info.peer for info in refused] == [None]
    assert dict(counted(world.client)) == before


@pytest.mark.interpreted
def test_a_segment_that_cannot_be_handled_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug would let the peer's data through, as nothing is encrypted yet."""

    def fail(_payload: bytes) -> bool:
        raise RuntimeError

    def stripped(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if crossing.sender != "client" or find(segment, Opcode.INIT1) is None:
            return [crossing.packet]
        return [segment.edited(option_area=options.replace(segment.option_area, {CRYPT: None}))]

    monkeypatch.setattr("tcpcryptd.crypt.handshake.passive.looks_like_init1", fail)
    world = world_of(ALL, [stripped])
    world.open()
    world.clock.run_for(20)
    assert world.server.daemon.counters()["internal_errors"]
    assert all(not each.received for each in world.server.stack.accepted), world.trace()


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_that_is_too_large_to_be_handled_does_not_pass_before_it_is_decided(version: int) -> None:
    """The kernel would give its data to the application. What belongs to no handshake passes."""
    world = World(client=engine(None, 1, suite=ALL), server=engine(None, 2, suite=ALL), version=version)
    server = world.server.daemon
    world.open()
    world.clock.run_for(0.015)
    syn = next(each for each in world.link.log if each.sender == "client")
    key = locate(syn.packet)[1]
    size = 65_535 - (40 if version == 4 else 60)

    def beginning(port: int, flags: int) -> bytes:
        flow = key[:-4] + port.to_bytes(2, "big") + key[-2:]
        return make(flow, sequence=1, acknowledgment=1, flags=flags, window=1, payload=bytes(size))[:65_531]

    assert server.holds(beginning(40_000, ACK))
    assert not server.holds(beginning(40_001, ACK))
    assert server.holds(beginning(40_001, SYN))
    assert not server.holds(b"E" + bytes(60))
    world.clock.run_for(5)
    (info,) = infos(world.server)
    assert server.reset(info.local, info.remote)
    world.clock.run_for(500)
    assert infos(world.server) == []
    assert server.holds(beginning(40_000, ACK))


@PROTOCOLS
@pytest.mark.parametrize("sender", ["client", "server"])
def test_lost_syns_do_not_make_it_fail(suite: Suite, sender: str) -> None:
    """Elsewhere the third one has no option, in case the path drops those that have; here that would help nobody."""
    lost = drop_nth(lambda each: each.sender == sender and bool(each.segment.flags & SYN), 1, 2, 3)
    world = World(
        client=engine(authenticator("client"), 1, suite=suite, requires=True),
        server=engine(authenticator("server"), 2, suite=suite, requires=True),
        filters=[lost],
    )
    world.exchange(*world.connect())
    world.assert_encrypted()
    assert outcomes(world.server) == [(Outcome.AUTHENTICATED, "client")]


@PROTOCOLS
@pytest.mark.parametrize("ended", range(1, 7))
@pytest.mark.parametrize("requiring", ["client", "server"])
def test_a_daemon_that_is_started_anew_during_a_handshake(suite: Suite, ended: int, requiring: str) -> None:
    """At the packet of that number; its successor does not know the connection."""
    crossings = 0

    def replace_daemon(crossing: Crossing) -> list[bytes]:
        nonlocal crossings
        crossings += 1
        if crossings == ended:
            host = world.client if requiring == "client" else world.server
            host.kill_engine()
            host.start_engine(engine(authenticator(requiring), 3, suite=suite, requires=True))
        return [crossing.packet]

    world = World(
        client=engine(authenticator("client"), 1, suite=suite, requires=requiring == "client"),
        server=engine(authenticator("server"), 2, suite=suite, requires=requiring == "server"),
        filters=[replace_daemon],
    )
    socket = world.open(data=text(2_000))
    serve(world)
    assert all(MARKER not in each.segment.payload for each in world.link.log if each.sender == requiring), world.trace()
    ends = [socket] if requiring == "client" else world.server.stack.accepted
    assert all(each.error is not None for each in ends if not each.received)
    world.assert_healthy()
