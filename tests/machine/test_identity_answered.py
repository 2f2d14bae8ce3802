"""A host that has answered and not yet verified the proof of whom it answered: nothing may happen before."""

from collections.abc import Callable

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import ConnectionState
from tcpcryptd.core.protocol import Outcome
from tcpcryptd.identity.authenticator import Authenticator
from tcpcryptd.identity.learned import LearnedKeys
from tcpcryptd.identity.proof import HostKey
from tcpcryptd.identity.public_key import key_line
from tcpcryptd.wire.sequence import add
from tests.machine.endpoint import Socket, State
from tests.machine.identities import (
    BOTH,
    CLIENT,
    KEYS,
    NOW,
    PROTOCOLS,
    SEEDS,
    SERVER,
    authenticator,
    counted,
    engine,
    outcomes,
    refusals,
    trust,
)
from tests.machine.link import Crossing
from tests.machine.proofs import read
from tests.machine.test_identity import AUTHENTICATED, resumed
from tests.machine.world import ENO, PORT, Suite, World, text

pytestmark = PROTOCOLS
REQUIRES = pytest.mark.parametrize("requires", [False, True])


def impostor(name: str = "client") -> Authenticator:
    """Shows another host's key, and signs with its own."""
    key = HostKey(SEEDS["mallory"])
    key._shown = bytes((1,)), KEYS[name]
    key.unsigned = bytes(64).join(key._shown)
    return Authenticator(key, trust(BOTH), lambda: NOW)


def world_of(suite: Suite, client: Authenticator | None, *, requires: bool = False) -> World:
    return World(
        client=engine(client, "c", suite=suite, classical=True),
        server=engine(authenticator("server"), "s", suite=suite, requires=requires, classical=True),
    )


def message(crossing: Crossing) -> str | None:
    found = read(crossing.segment.payload)
    return found[0] if found is not None else None


def answered(world: World) -> Socket:
    """A connection whose answer is on its way; from now on the server does only what packets make it do."""
    world.server.sleeps = True
    client = world.open()
    assert world.clock.run_until(lambda: any(message(each) == "second" for each in world.link.log), 1), world.trace()
    return client


def assert_nothing_passed(world: World, client: Socket) -> None:
    assert client.error is not None, world.trace()
    assert not client.received
    assert all(not each.received for each in world.server.stack.accepted)
    world.assert_nothing_in_clear()
    world.assert_healthy()


@REQUIRES
@pytest.mark.parametrize("speaks_first", ["client", "server"])
def test_the_next_packet_has_the_proof_verified(suite: Suite, requires: bool, speaks_first: str) -> None:
    world = world_of(suite, authenticator("client"), requires=requires)
    client = answered(world)
    if speaks_first == "server":
        world.server.stack.accepted[0].write(text(2_000, b"response "))
    else:
        client.write(text(2_000, b"request "))
    world.clock.run_for(1)
    server = world.server.stack.accepted[0]
    assert len(client.received) + len(server.received) > 2_000
    assert outcomes(world.server) == [(AUTHENTICATED, "client")]
    world.assert_encrypted()


@REQUIRES
@pytest.mark.parametrize("sleeps", [False, True])
@pytest.mark.parametrize("speaks_first", ["client", "server"])
def test_who_shows_anothers_key_gets_an_answer_and_nothing_else(
    suite: Suite, requires: bool, sleeps: bool, speaks_first: str
) -> None:
    world = world_of(suite, impostor(), requires=requires)
    world.server.sleeps = sleeps
    client = world.open()
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), 1)
    # Before any timer.
    speaker = client if speaks_first == "client" else world.server.stack.accepted[0]
    speaker.write(text(2_000))
    world.clock.run_for(100)
    assert [message(each) for each in world.link.log].count("second") == 1, world.trace()
    assert_nothing_passed(world, client)
    assert counted(world.server) == {"forged": 1}
    assert len(refusals(world.server)) == 1
    assert outcomes(world.server) == []
    assert world.server.engine is not None
    assert world.server.engine.counters()["sessions"] == 0


@REQUIRES
def test_data_in_the_same_batch_as_the_first_message(suite: Suite, requires: bool) -> None:
    """Whoever sends it cannot have the keys. The proof is verified all the same before anything looks at it."""

    def with_data(crossing: Crossing) -> list[bytes]:
        if message(crossing) != "first":
            return [crossing.packet]
        segment = crossing.segment
        behind = segment.edited(sequence=add(segment.sequence, segment.payload_length), payload=text(100))
        return [crossing.packet, behind]

    for client_identity, outcome in ((authenticator("client"), "authenticated"), (impostor(), "forged")):
        world = world_of(suite, client_identity, requires=requires)
        world.link.filters = [with_data]
        client = world.open(data=text(2_000))
        world.clock.run_for(30)
        assert all(
            b"MARK" not in bytes(each.received) or outcome == "authenticated" for each in world.server.stack.accepted
        )
        if outcome == "forged":
            assert client.error is not None
            assert counted(world.server) == {"forged": 1}
        elif suite is not ENO:
            # What is not authentic is dropped; with frames it would break the stream.
            assert bytes(world.server.stack.accepted[0].received) == text(2_000)
        world.assert_nothing_in_clear()


def ways_to_end(world: World) -> dict[str, Callable[[Engine], object]]:
    local, remote = Endpoint(SERVER, PORT), Endpoint(CLIENT, 40_000)
    return {
        "shut down": lambda engine: engine.shut_down(world.clock.now),
        "reset": lambda engine: engine.reset(local, remote),
    }


@pytest.mark.parametrize("way", ["shut down", "reset"])
@pytest.mark.parametrize("identity", ["client", "impostor"])
def test_it_ends_meanwhile(suite: Suite, way: str, identity: str) -> None:
    world = world_of(suite, impostor() if identity == "impostor" else authenticator("client"))
    client = answered(world)
    assert world.server.engine is not None
    ways_to_end(world)[way](world.server.engine)
    world.server.collect()
    world.clock.run_for(1)
    assert_nothing_passed(world, client)
    assert world.server.stack.accepted[0].error is not None
    assert (outcomes(world.server), refusals(world.server)) == ([], [])


def test_what_is_said_of_it_meanwhile(suite: Suite) -> None:
    world = world_of(suite, authenticator("client"))
    client = answered(world)
    server = world.server.engine
    assert server is not None
    local, remote = Endpoint(SERVER, PORT), Endpoint(CLIENT, 40_000)
    info = server.connection(local, remote)
    assert info is not None
    assert (info.state, info.session_id, info.peer) == (ConnectionState.HANDSHAKE, None, None)
    assert not server.rekey(local, remote)
    assert server.flush_session(local, remote)
    assert server.counters()["sessions"] == 0
    assert list(server.hosts()) == []
    world.exchange(client, world.server.stack.accepted[0])
    assert outcomes(world.server) == [(AUTHENTICATED, "client")]
    # The application did not want it to be kept.
    assert server.counters()["sessions"] == 0


def test_who_has_a_connection_may_ask_about_it(suite: Suite) -> None:
    """The keys of a resumed session are made when the application has got its SYN ACK, or when it asks before that."""
    world = world_of(suite, authenticator("client"))
    assert not resumed(world, 40_000)
    world.client.sleeps = True
    client = world.open(port=40_001)
    assert world.clock.run_until(lambda: client.state is State.OPEN, 1)
    assert world.client.engine is not None
    info = world.client.engine.connection(Endpoint(CLIENT, 40_001), Endpoint(SERVER, PORT))
    assert info is not None
    assert (info.state, info.resumed) == (ConnectionState.ENCRYPTED, True)
    assert info.session_id is not None


def test_the_daemon_dies_meanwhile(suite: Suite) -> None:
    world = world_of(suite, authenticator("client"))
    client = answered(world)
    world.server.kill_engine()
    world.server.start_engine(engine(authenticator("server"), "later", suite=suite, classical=True))
    client.write(text(2_000))
    world.clock.run_for(300)
    assert_nothing_passed(world, client)


def test_the_list_changes_meanwhile(suite: Suite) -> None:
    identity = authenticator("server")
    world = World(
        client=engine(authenticator("client"), "c", suite=suite, classical=True),
        server=engine(identity, "s", suite=suite, classical=True),
    )
    client = answered(world)
    assert world.server.engine is not None
    identity.trust = trust(f"{BOTH}@revoked * {key_line(KEYS['client'])}")
    world.server.engine.review_identities(identity.recall)
    client.write(text(2_000))
    world.clock.run_for(1)
    assert_nothing_passed(world, client)
    assert counted(world.server) == {"revoked": 1}


def test_a_key_is_learned_when_its_proof_is_verified(suite: Suite) -> None:
    for client_identity, learns in ((impostor(), False), (authenticator("client"), True)):
        learned = LearnedKeys()
        world = World(
            client=engine(client_identity, "c", suite=suite, classical=True),
            server=engine(authenticator("server", "", learned), "s", suite=suite, classical=True),
        )
        answered(world)
        assert len(learned) == 0
        world.clock.run_for(5)
        assert dict(learned.items()) == ({CLIENT: KEYS["client"]} if learns else {})
        assert outcomes(world.server) == ([(Outcome.FIRST_USE, "")] if learns else [])


def test_who_would_be_refused_anyway_gets_no_answer(suite: Suite) -> None:
    """So that nobody else is shown this host's key."""
    unlisted = authenticator("mallory", BOTH)
    for requires in (False, True):
        world = world_of(suite, unlisted, requires=requires)
        client = world.open()
        world.clock.run_for(100)
        assert client.error is not None
        assert "second" not in [message(each) for each in world.link.log]
        assert counted(world.server) == {"changed": len(refusals(world.server))}
