"""Connections with the original daemon (tests/machine/original.py), which we cannot change."""

from dataclasses import replace

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.options import ClientMode, ConnectionOptions
from tcpcryptd.crypto.suites import AES_256_GCM_SIV, RSA_2048, X25519_HPKE
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, make
from tcpcryptd.wire.sequence import add
from tests.machine.endpoint import Behaviour, Socket, State
from tests.machine.link import (
    CRYPT,
    MAC,
    Conditions,
    Crossing,
    Filter,
    Predicate,
    any_packet,
    drop_nth,
    has_payload,
    strip,
)
from tests.machine.original_state import INIT1, INIT2, find
from tests.machine.world import (
    AUTO,
    FROM_ORIGINAL,
    LIMIT,
    MODERN,
    PORT,
    TO_ORIGINAL,
    Suite,
    World,
    make_engine,
    make_original,
    text,
)

ROLES = pytest.mark.parametrize("suite", [FROM_ORIGINAL, TO_ORIGINAL], ids=["from", "to"])
SWITCHED = pytest.mark.parametrize("switched", [False, True], ids=["usual", "switched"])


def open_world(suite: Suite, *, switched: bool = False, delay: float = 0.01, filters: tuple[Filter, ...] = ()) -> World:
    """`switched`: the server wants to be the client of the exchange."""
    world = World.encrypting(suite, conditions=Conditions(delay=delay), filters=filters)
    if switched and suite.original == "server":
        world.original.wants_to_be_client = True
    elif switched:
        mode = ConnectionOptions(client_mode=ClientMode.ALWAYS)
        world.ours.set_options(mode, Endpoint(world.server.address, PORT))
    return world


def has_message(opcode: int) -> Predicate:
    """Carries a handshake message, sealed or not."""
    return lambda crossing: find(crossing.segment, opcode) is not None


def assert_only_ours(world: World, client: Socket, request: bytes, response: bytes) -> None:
    """No application has read anything but what the other one wrote."""
    assert request.startswith(bytes(b"".join(bytes(each.received) for each in world.server.stack.accepted)))
    assert response.startswith(bytes(client.received))


@ROLES
@SWITCHED
@pytest.mark.parametrize("delay", [0.002, 0.08, 0.3])
@pytest.mark.parametrize("lost", [(), *((each,) for each in range(1, 9)), (4, 5), (3, 4, 5), tuple(range(4, 20))])
def test_no_handshake_message_gets_into_an_application(
    suite: Suite, switched: bool, delay: float, lost: tuple[int, ...]
) -> None:
    """Whatever is lost: all arrives, or both ends learn that the connection is over."""
    world = open_world(suite, switched=switched, delay=delay, filters=(drop_nth(any_packet, *lost),))
    client = world.open(behaviour=Behaviour(timestamps=False))
    request, response = text(3000, b"request "), text(2000, b"response ")
    client.write(request)
    assert world.clock.run_until(lambda: client.state is not State.SYN_SENT, LIMIT)
    world.clock.run_for(30)
    for server in world.server.stack.accepted:
        if server.state is State.OPEN:
            server.write(response)
    world.clock.run_for(60)
    assert_only_ours(world, client, request, response)
    (server,) = world.server.stack.accepted or [client]
    if switched and suite is FROM_ORIGINAL and lost == (2,):
        # It waits for ever when the SYN ACK comes twice.
        assert server.state is State.OPEN
    elif client.error is None and server.error is None:
        assert (len(server.received), len(client.received)) == (len(request), len(response)), world.trace()
    else:
        assert State.OPEN not in (client.state, server.state), world.trace()
        world.assert_nothing_in_clear()
    if not lost:
        world.assert_encrypted()
    world.assert_healthy()


@SWITCHED
@pytest.mark.parametrize("lost", [(), (3,), (4,), (5,), (4, 5), (4, 5, 6)])
def test_the_server_speaks_before_there_are_keys(switched: bool, lost: tuple[int, ...]) -> None:
    """Its kernel's zero-window probes must not be in front of INIT2."""
    world = open_world(FROM_ORIGINAL, switched=switched, filters=(drop_nth(any_packet, *lost),))
    client = world.open(behaviour=Behaviour(timestamps=False))
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), LIMIT)
    world.server.stack.accepted[0].write(text(3000))
    world.clock.run_for(60)
    assert_only_ours(world, client, b"", text(3000))
    assert len(client.received) == 3000 or client.error is not None, world.trace()


@pytest.mark.parametrize("delay", [0.002, 0.08, 0.3])
def test_both_ends_are_reset_at_once_when_init2_is_lost(delay: float) -> None:
    """What the original sends again is sealed: there will be no keys."""
    world = open_world(TO_ORIGINAL, delay=delay, filters=(drop_nth(has_message(INIT2), 1),))
    client = world.open(data=text(3000))
    assert world.clock.run_until(lambda: client.error == "reset", 4 * delay + 0.2), world.trace()
    world.clock.run_for(2 * delay)
    assert [each.error for each in world.server.stack.accepted] == ["reset"]
    assert world.ours.counters()["init2_lost"] == 1
    world.clock.run_for(30)
    assert_only_ours(world, client, b"", b"")
    world.assert_nothing_in_clear()


def test_a_sealed_segment_that_overtakes_init2_resets_nothing() -> None:
    world = open_world(TO_ORIGINAL)
    held: list[Crossing] = []

    def overtaken(crossing: Crossing) -> list[bytes]:
        if find(crossing.segment, INIT2) is not None and not held:
            held.append(crossing)
            world.clock.after(0.03, lambda: world.link.deliver("server", crossing.packet))
            return []
        return [crossing.packet]

    world.link.filters.append(overtaken)
    world.server.stack.listen(PORT)
    client = world.open()
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), LIMIT)
    server = world.server.stack.accepted[0]
    world.exchange(client, server, 3000)
    world.assert_encrypted()
    first_sealed = next(each for each in world.link.log if each.segment.option(MAC) is not None)
    assert first_sealed.sender == "server"


@pytest.mark.parametrize(
    ("acknowledged", "ahead", "behind"),
    [("none", 0, 10), ("once", 0, -1), ("once", 0, 70_000), ("once", 1, 10), ("twice", 1, 10), ("twice", -1, 10)],
)
def test_a_blind_sealed_segment_resets_nothing(acknowledged: str, ahead: int, behind: int) -> None:
    """Who does not see the connection does not know what we have sent."""
    world = open_world(TO_ORIGINAL, delay=0.2)
    client = world.open()
    assert world.clock.run_until(lambda: any(map(has_message(INIT1), world.link.log)), LIMIT)
    init1 = next(each.segment for each in world.link.log if find(each.segment, INIT1) is not None)
    lengths = {"none": 0, "once": init1.payload_length, "twice": 2 * init1.payload_length}
    for suboption in (b"", options.encode(CRYPT, bytes((INIT2,)))):
        forged = make(
            init1.addresses[4:] + init1.addresses[:4] + client.key[-2:] + client.key[-4:-2],
            sequence=add(init1.acknowledgment, behind),
            acknowledgment=add(init1.sequence, lengths[acknowledged] + ahead),
            flags=ACK,
            window=1000,
            option_area=options.pad(suboption + options.encode(MAC, bytes(20))),
        )
        world.link.deliver("server", forged)
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), LIMIT)
    world.exchange(client, world.server.stack.accepted[0], 3000)
    world.assert_encrypted()


@SWITCHED
@pytest.mark.parametrize("source", ["configuration", "application"])
@ROLES
def test_no_common_suite_is_plain(suite: Suite, source: str, switched: bool) -> None:
    """The original crashes on an INIT1 without a suite that it knows."""
    if source == "configuration":
        suite = replace(suite, symmetric=(AES_256_GCM_SIV,))
    world = open_world(suite, switched=switched)
    if source == "application":
        specs = (AES_256_GCM_SIV.spec,)
        mode = ClientMode.ALWAYS if switched and suite.original == "client" else ClientMode.DEFAULT
        chosen = ConnectionOptions(client_ciphers=specs, server_ciphers=specs, client_mode=mode)
        for local in (Endpoint(world.client.address, 40_000), Endpoint(world.server.address, PORT)):
            world.ours.set_options(chosen, local)
    client, server = world.connect()
    world.exchange(client, server, 3000)
    world.close(client, server)
    assert world.session_ids() == (None, None)
    assert not any(MAC in dict(each.segment.options) for each in world.link.log)
    world.assert_healthy()


@ROLES
def test_no_common_mechanism_is_plain(suite: Suite) -> None:
    world = open_world(replace(suite, public_key=(X25519_HPKE,)))
    client, server = world.connect()
    world.exchange(client, server, 3000)
    world.close(client, server)
    assert world.session_ids() == (None, None)
    world.assert_healthy()


@pytest.mark.parametrize("public_key", [(RSA_2048,), (X25519_HPKE, RSA_2048)], ids=["rsa", "both"])
def test_our_own_suite_with_our_own_daemon(public_key: tuple[object, ...]) -> None:
    """A PKCONF that only we send needs no suite of the original's; one that the original could send does."""
    suite = Suite(public_key, (AES_256_GCM_SIV,))  # type: ignore[arg-type]
    world = World.encrypting(suite)
    client, server = world.connect()
    world.exchange(client, server, 3000)
    assert (world.session_ids()[0] is None) == (len(public_key) == 1)


def test_a_session_with_ours_is_offered_to_the_original() -> None:
    """Another host has taken the address; it knows neither the session nor its suite."""
    world = World.encrypting(MODERN)
    world.close(*world.connect())
    world.client.engine = make_engine("c")
    world.close(*world.connect(port=40_001))
    world.clock.run_for(200)
    world.server.kill_engine()
    world.server.start_engine(make_original())
    client, server = world.connect(port=40_002)
    world.exchange(client, server, 3000)
    world.assert_encrypted()


def test_auto_is_plain_the_first_time() -> None:
    """The original takes the option of TCP-ENO for one with nothing that it knows, and the host is remembered."""
    world = open_world(replace(AUTO, original="server"))
    client, server = world.connect()
    world.exchange(client, server, 3000)
    world.close(client, server)
    assert world.session_ids() == (None, None)
    world.link.log.clear()
    client, server = world.connect(port=40_001)
    world.exchange(client, server, 3000)
    world.assert_encrypted()


@ROLES
@pytest.mark.parametrize("kind", ["ipv6", "stripped", "ecn"])
def test_what_is_plain(suite: Suite, kind: str) -> None:
    """It knows IPv4 alone, and does not look at a SYN with ECN flags."""
    world = World.encrypting(suite, version=6 if kind == "ipv6" else 4)
    if kind == "stripped":
        world.link.filters.append(strip(CRYPT, any_packet))
    behaviour = Behaviour(ecn=kind == "ecn")
    world.server.stack.listen(PORT, behaviour)
    client, server = world.connect(behaviour=behaviour)
    world.exchange(client, server, 3000)
    assert world.session_ids() == (None, None)
    world.assert_healthy()


@ROLES
@SWITCHED
@pytest.mark.parametrize("first", ["client", "server"])
def test_sessions_go_on(suite: Suite, switched: bool, first: str) -> None:
    world = open_world(suite, switched=switched)
    for port in range(40_000, 40_004):
        client, server = world.connect(port=port)
        speaker, listener = (client, server) if first == "client" else (server, client)
        speaker.write(text(3000))
        assert world.clock.run_until(lambda: len(listener.received) == 3000, LIMIT), world.trace()  # noqa: B023
        world.exchange(client, server, 1000)
        world.close(client, server)
        world.assert_encrypted()
        world.clock.run_for(1)
    # Who opens, and was the server of the exchange, goes on from it only if that is what it wants (CMODE).
    exchanges = 4 if switched and suite is TO_ORIGINAL else 1
    assert sum(has_payload(each) and has_message(INIT1)(each) for each in world.link.log) == exchanges
