"""TCP Fast Open (RFC 7413) of a local client, whose SYN's data is sent again in the place of the ACK."""

import pytest

from tcpcryptd.wire import options
from tcpcryptd.wire.segment import SYN
from tests.machine.endpoint import Behaviour, Socket
from tests.machine.link import (
    SYN_ACK,
    SYN_ALONE,
    Conditions,
    Crossing,
    all_of,
    drop,
    drop_nth,
    has_flags,
    has_option,
    has_payload,
    sent_by,
    strip,
)
from tests.machine.world import ALL, ENO, ORIGINAL, Suite, World, make_engine, text

COOKIES = {
    "long cookie": options.encode(34, b"sixteen bytes..."),
    "experiment": options.encode(254, b"\xf9\x89a cookie"),
    "no cookie": b"",
}
EARLY = text(900, b"early ")
SUITES = pytest.mark.parametrize("suite", [ALL, ORIGINAL, ENO], ids=["crypt", "original", "eno"])
ROUND_TRIP = 2 * Conditions().delay


def fast(cookie: str = "long cookie", data: bytes = EARLY) -> Behaviour:
    return Behaviour(extra_options=COOKIES[cookie], syn_data=data)


def begin(world: World, behaviour: Behaviour, round_trips: float = 500, port: int = 40_000) -> tuple[Socket, Socket]:
    """Until the client knows that the server has what was written when it connected."""
    deadline = world.clock.now + round_trips * ROUND_TRIP + 0.001
    client, server = world.connect(port=port, behaviour=behaviour)
    early = behaviour.syn_data
    assert world.clock.run_until(lambda: bytes(server.received) == early and client.all_acknowledged, 10), world.trace()
    assert world.clock.now <= deadline, world.trace()
    return client, server


@SUITES
@pytest.mark.parametrize("cookie", COOKIES)
@pytest.mark.parametrize("version", [4, 6])
def test_data_goes_out_with_the_keys(suite: Suite, cookie: str, version: int) -> None:
    """At the time at which that of an ordinary connection does, also when the session is resumed."""
    world = World.encrypting(suite, version=version)
    client, server = begin(world, fast(cookie), 3)
    world.exchange(client, server)
    world.close(client, server)
    world.assert_encrypted()
    begin(world, fast(cookie), 2, port=40_001)
    world.assert_encrypted()
    for syn in [each.segment for each in world.link.log if each.segment.flags & SYN]:
        assert syn.option(69) is not None
        assert not syn.payload_length
        assert not {34, 254}.intersection(kind for kind, _ in syn.options)
    syn_acks = [number for number, each in enumerate(world.link.log) if SYN_ACK(each)]
    thirds = [next(each for each in world.link.log[number:] if each.sender == "client") for number in syn_acks]
    assert len(thirds) == 2
    if suite is ENO:
        # RFC 8547 section 4.6.
        assert all(each.segment.option(69) is not None for each in thirds)


@SUITES
@pytest.mark.parametrize("lost", ["the data", "INIT1", "INIT2", "sealed"])
def test_what_is_lost(suite: Suite, lost: str) -> None:
    predicate = {
        "the data": drop_nth(all_of(sent_by("client"), has_payload), 2),
        "INIT1": drop_nth(all_of(sent_by("client"), has_payload), 1),
        "INIT2": drop_nth(all_of(sent_by("server"), has_payload), 1),
        "sealed": drop_nth(sent_by("client"), 3, 4),
    }[lost]
    world = World.encrypting(suite, filters=[predicate])
    client, server = begin(world, fast())
    world.exchange(client, server)
    world.close(client, server)
    world.assert_encrypted()


@SUITES
@pytest.mark.parametrize("data", [b"", EARLY], ids=["nothing", "data"])
def test_the_application_closes_at_once(suite: Suite, data: bytes) -> None:
    """What stands in the place of the ACK has FIN."""
    world = World.encrypting(suite)
    client = world.open(behaviour=fast(data=data))
    client.shut_down()
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), 10), world.trace()
    server = world.server.stack.accepted[0]
    assert world.clock.run_until(lambda: server.peer_finished, 10), world.trace()
    assert bytes(server.received) == data
    server.write(text(3000))
    server.shut_down()
    assert world.clock.run_until(lambda: client.peer_finished, 10), world.trace()
    assert bytes(client.received) == text(3000)
    world.assert_encrypted()


@SUITES
def test_more_than_a_segment(suite: Suite) -> None:
    """The kernel has more to send when the window opens: it must not overtake the beginning."""
    world = World.encrypting(suite)
    client = world.open(behaviour=fast(), data=text(20_000))
    expected = EARLY + text(20_000)
    assert world.clock.run_until(lambda: client.all_acknowledged, 8 * ROUND_TRIP), world.trace()
    assert bytes(world.server.stack.accepted[0].received) == expected
    world.assert_encrypted()


@SUITES
def test_a_peer_without_a_daemon(suite: Suite) -> None:
    """A round trip later than without ours: its kernel was not shown the cookie."""
    world = World(client=make_engine("c", suite))
    client, server = begin(world, fast(), 2)
    world.exchange(client, server)
    world.assert_plain()


@SUITES
def test_nothing_of_the_handshake_arrives(suite: Suite) -> None:
    """Nothing leaves in clear that went to a peer with the option."""
    world = World.encrypting(suite, filters=[drop(all_of(has_flags(SYN, 0), has_option(69), sent_by("client")))])
    client = world.open(behaviour=fast())
    if suite is ENO:
        assert world.clock.run_until(lambda: client.error is not None, 60), world.trace()
        world.assert_nothing_in_clear()
    else:
        # INIT1 is given up after 7.5 seconds.
        assert world.clock.run_until(lambda: client.all_acknowledged, 7.6), world.trace()
        world.exchange(client, world.server.stack.accepted[0], 100)
        world.assert_plain()


@SUITES
def test_the_syns_with_the_option_are_swallowed(suite: Suite) -> None:
    world = World.encrypting(suite, filters=[drop(all_of(SYN_ALONE, has_option(69)))])
    client, server = begin(world, fast())
    world.exchange(client, server)
    world.assert_plain()


@SUITES
def test_the_option_is_stripped(suite: Suite) -> None:
    world = World.encrypting(suite, filters=[strip(69, SYN_ALONE)])
    client, server = begin(world, fast(), 2)
    world.exchange(client, server)
    world.assert_plain()


@SUITES
def test_data_that_never_left_is_not_acknowledged(suite: Suite) -> None:
    """The local kernel would take it for delivered."""

    def acknowledge(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not SYN_ACK(crossing):
            return [crossing.packet]
        forged = segment.edited(acknowledgment=(segment.acknowledgment + len(EARLY)) & 0xFFFFFFFF)
        return [forged, crossing.packet]

    world = World.encrypting(suite, filters=[acknowledge])
    client, server = begin(world, fast())
    world.exchange(client, server)
    world.assert_encrypted()


@SUITES
def test_a_cookie_of_a_peer_does_not_get_to_the_kernel(suite: Suite) -> None:
    """With one and without data it may send before the handshake; what asks for one fills the SYN ACK."""

    def add(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not SYN_ALONE(crossing):
            return [crossing.packet]
        area = options.pad(b"".join(options.encode(*each) for each in segment.options) + options.encode(34, b"cookie"))
        return [segment.edited(option_area=area)]

    world = World.encrypting(suite, filters=[add])
    seen: list[bytes] = []
    receive = world.server.stack.receive

    def note(packet: bytes) -> None:
        crossing = Crossing(0.0, "", packet)
        if SYN_ALONE(crossing):
            seen.append(packet)
            assert crossing.segment.option(34) is None
        receive(packet)

    world.server.stack.receive = note  # type: ignore[method-assign]
    client, server = world.connect()
    assert seen
    world.exchange(client, server)
    world.assert_encrypted()
