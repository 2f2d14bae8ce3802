"""MLKEM768-X25519 with TEP 0x20: Init messages of several segments, and peers without it (docs/eno.md)."""

from dataclasses import replace

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.crypto.ecdhe import ECDHE_SCHEMES
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.constants import ENO as ENO_KIND
from tcpcryptd.eno.handshake.negotiation import Reason
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, PSH, SYN
from tcpcryptd.wire.sequence import add, difference
from tests.machine.endpoint import Behaviour, State
from tests.machine.icmp import too_big_error
from tests.machine.link import Conditions, Crossing, all_of, drop_nth, has_flags, sent_by, strip
from tests.machine.test_eno_exchange import carries
from tests.machine.test_eno_post_quantum_messages import HYBRID
from tests.machine.test_eno_simultaneous import crossing, works
from tests.machine.test_path_mtu import Router
from tests.machine.world import AUTO, EACH_SIDE, ENO, LIMIT, PORT, World, make_engine, text

WITHOUT = replace(ENO, eno=EnoConfig(ECDHE_SCHEMES))
"""A daemon that does not know TEP 0x20."""
INIT1, INIT2 = 1265, 1164
"""Bytes of the messages with all AEAD algorithms."""
MESSAGES = pytest.mark.parametrize("message", ["Init1", "Init2"])
VERSIONS = pytest.mark.parametrize("version", [4, 6])
SYN_ALONE, SYN_ACK = has_flags(SYN | ACK, SYN), has_flags(SYN | ACK, SYN | ACK)


def infos(world: World) -> tuple[ConnectionInfo, ConnectionInfo]:
    """The latest connection's, of either host."""
    client, server = (list(host.daemon.connections())[-1] for host in world.hosts)
    return client, server


def sender_of(message: str) -> str:
    return "client" if message == "Init1" else "server"


def segments_of(world: World, message: str) -> list[Crossing]:
    """What carried the message, in as many segments as there were."""
    first = next(each for each in world.link.log if carries(message)(each))
    size = INIT1 if message == "Init1" else INIT2
    return [
        each
        for each in world.link.log
        if each.sender == first.sender
        and each.segment.payload_length
        and 0 <= difference(each.segment.sequence, first.segment.sequence) < size
    ]


@VERSIONS
def test_what_is_on_the_wire(version: int) -> None:
    world, client, server = World.opened(ENO, version=version)
    for info in infos(world):
        assert info.suite is not None
        assert info.suite.startswith("MLKEM768-X25519/")
        assert info.public_key_spec == b"\x20\x41"
        assert info.session_id is not None
        assert info.session_id[0] == 0xA0
    syns = [each.segment.option(ENO_KIND) for each in world.link.log if each.segment.flags & SYN]
    assert syns == [bytes.fromhex("23242122 83 a0 5f7b 4100"), bytes.fromhex("01 a0 5f7b 41")]
    for message, size in (("Init1", INIT1), ("Init2", INIT2)):
        (sent,) = segments_of(world, message)
        assert sent.segment.payload_length == size
        assert sent.segment.flags & PSH
    world.close(client, server)
    world.assert_encrypted()


@VERSIONS
@pytest.mark.parametrize("mss", [100, 256, 516, 536, 1220])
def test_a_small_mss(mss: int, version: int) -> None:
    world = World.encrypting(ENO, version=version)
    world.server.stack.listen(PORT, Behaviour(mss=mss))
    client, server = world.connect(behaviour=Behaviour(mss=mss))
    world.exchange(client, server)
    for message in ("Init1", "Init2"):
        parts = segments_of(world, message)
        assert len(parts) > (mss < 1000 or message == "Init1")
        headers = 40 if version == 4 else 60
        assert all(len(part.packet) <= mss + headers for part in parts)
        # PSH on the last byte of a message (RFC 8548 section 3.3).
        assert [bool(part.segment.flags & PSH) for part in parts] == [False] * (len(parts) - 1) + [True]
    # Any of them may be the first that comes (RFC 8547 section 4.6).
    assert all(part.segment.option(ENO_KIND) == b"" for part in segments_of(world, "Init1"))
    world.close(client, server)
    world.assert_encrypted()


def test_an_absurd_mss() -> None:
    """The number of segments stays bounded."""
    world = World.encrypting(ENO)
    world.server.stack.listen(PORT, Behaviour(mss=1))
    world.open()
    world.clock.run_for(0.3)
    assert len(segments_of(world, "Init1")) == -(-INIT1 // 64)


@MESSAGES
@pytest.mark.parametrize("backwards", [False, True], ids=["one lost", "backwards"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_segments_of_a_message_are_lost_or_come_backwards(message: str, number: int, backwards: bool) -> None:
    held: list[bytes] = []

    def is_part(crossing: Crossing) -> bool:
        return crossing.sender == sender_of(message) and crossing.segment.payload_length > 100

    def reverse(crossing: Crossing) -> list[bytes]:
        if not is_part(crossing) or len(held) >= 3:
            return [crossing.packet]
        held.append(crossing.packet)
        return held[::-1] if len(held) == 3 else []

    world = World.encrypting(ENO, filters=[reverse if backwards else drop_nth(is_part, number)])
    world.server.stack.listen(PORT, Behaviour(mss=536))
    client, server = world.connect(behaviour=Behaviour(mss=536))
    world.exchange(client, server, 2000)
    world.close(client, server)
    world.assert_encrypted()
    if not backwards:
        # What was acknowledged is not sent again.
        again = [each.segment.sequence for each in segments_of(world, message)[3:]]
        assert len(again) == {1: 3, 2: 2, 3: 1}[number]


@pytest.mark.parametrize("mss", [300, 536, 1460])
def test_a_bad_path(mss: int) -> None:
    for seed in range(15):
        conditions = Conditions(loss=0.1, duplication=0.1, reordering=0.3, corruption=0.02)
        world = World.encrypting(HYBRID, seed=seed, conditions=conditions)
        world.server.stack.listen(PORT, Behaviour(mss=mss))
        client, server = world.connect(behaviour=Behaviour(mss=mss))
        world.exchange(client, server, 3000)
        world.assert_healthy()


@pytest.mark.parametrize("silent", [False, True], ids=["told", "black hole"])
@pytest.mark.parametrize(("version", "mtu"), [(4, 600), (4, 1290), (6, 1290)])
def test_a_path_that_takes_less_than_the_mss_says(mtu: int, silent: bool, version: int) -> None:
    """No message is lost for good, and where a router says so no timeout is lost either."""
    world = World.encrypting(ENO, version=version)
    router = Router(world, mtu, silent=silent)
    world.link.filters.append(router)
    client, server = world.connect()
    began = world.clock.now
    world.exchange(client, server, 200)
    assert world.clock.now - began < (4 if silent else 0.4)
    assert {sender for sender, _ in router.told} >= {"client"}
    world.assert_encrypted()


def test_an_error_about_what_was_not_sent() -> None:
    """Whoever does not see the connection cannot make it send small segments."""
    world = World.encrypting(ENO, filters=[drop_nth(carries("Init1"), 1)])
    client = world.open()
    world.clock.run_for(0.2)
    engine, sent = world.client.daemon, len(world.link.log)
    original = next(each.segment for each in world.link.log if carries("Init1")(each))
    forged = original.edited(sequence=add(original.sequence, INIT1))
    key = original.addresses + original.packet[original.offset : original.offset + 4]
    world.client.receive_error(too_big_error(forged, 576), key)
    world.clock.run_for(0.1)
    assert len(world.link.log) == sent
    assert engine.counters()["icmp_errors_refused"] == 1
    world.clock.run_for(1)
    assert client.state is State.OPEN
    assert len(segments_of(world, "Init1")) == 2


@pytest.mark.parametrize("number", [0, 1], ids=["in order", "the second first"])
def test_segments_that_lost_their_option_are_not_delivered(number: int) -> None:
    """Whichever comes first: no application may see a part of a message (RFC 8547 section 4.6)."""
    lost = strip(ENO_KIND, all_of(sent_by("client"), has_flags(SYN, 0)))
    first = drop_nth(carries("Init1"), *range(1, number + 1))
    world = World.encrypting(ENO, filters=[first, lost])
    world.server.stack.listen(PORT, Behaviour(mss=536))
    client = world.open(behaviour=Behaviour(mss=536), data=text(500))
    assert world.clock.run_until(lambda: client.error == "reset", 60)
    world.clock.run_for(200)
    assert not any(each.received for each in world.server.stack.accepted)
    assert world.server.daemon.counters()["stray"] > 1
    world.assert_nothing_in_clear()


def test_plain_data_that_comes_backwards_is_delivered() -> None:
    """Of a peer without a daemon, whose first ACK is lost: what could be of an Init1 comes again."""
    held: list[bytes] = []

    def swapped(crossing: Crossing) -> list[bytes]:
        if crossing.sender == "server" or crossing.segment.flags & SYN or len(held) > 1:
            return [crossing.packet]
        if crossing.segment.payload_length:
            held.append(crossing.packet)
        return held[::-1] if len(held) == 2 else []

    # Its SYN ACK loses the option, so that only the server's daemon thinks of encryption.
    world = World.encrypting(ENO, filters=[strip(ENO_KIND, sent_by("server")), swapped])
    client = world.open(data=text(3000))
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
    (server,) = world.server.stack.accepted
    assert bytes(server.received) == text(3000)
    world.assert_plain()


@pytest.mark.parametrize("without", ["client", "server"])
def test_a_peer_that_does_not_know_it(without: str) -> None:
    """As before, with no segment more, fresh and resumed."""
    known: dict[bool, list[int]] = {}
    for both in (False, True):
        suites = {name: WITHOUT if both or name == without else ENO for name in ("client", "server")}
        world = World(client=make_engine("c", suites["client"]), server=make_engine("s", suites["server"]))
        for number in range(3):
            world.talk(port=40_000 + number)
        world.assert_encrypted()
        for info in infos(world):
            assert info.suite is not None
            assert info.suite.startswith("ECDHE-Curve25519/")
        known[both] = [each.segment.payload_length for each in world.link.log]
    assert known[False] == known[True]


@EACH_SIDE
def test_a_peer_that_offers_another_use_of_the_tep(side: str) -> None:
    """Its option in the place of ours: plain TCP at both ends, and the reason says why."""
    foreign = (b"\x01" if side == "server" else b"") + b"\xa0another"

    def replaced(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not (SYN_ALONE if side == "client" else SYN_ACK)(crossing) or segment.option(ENO_KIND) is None:
            return [crossing.packet]
        others = [each for each in segment.options if each[0] != ENO_KIND]
        area = b"".join(options.encode(*each) for each in others) + options.encode(ENO_KIND, foreign)
        return [segment.edited(option_area=options.pad(area))]

    world = World.encrypting(ENO, filters=[replaced])
    world.talk()
    world.assert_plain()
    reasons = world.reasons(world.server if side == "client" else world.client)
    assert reasons == [Reason.NO_COMMON_TEP]


def test_a_host_that_opens_again_offers_the_best_to_a_peer_that_has_learnt_it() -> None:
    """A session of X25519 leaves no room for the KEM in the SYN, so what comes of it with a new daemon is not kept."""
    world = World(client=make_engine("client", ENO), server=make_engine("server", WITHOUT))
    found = []
    for number in range(5):
        if number == 2:
            world.server.engine = make_engine("new", ENO)
        world.talk(port=40_000 + number)
        info = infos(world)[0]
        found.append((info.suite or "").split("/")[0] + (" resumed" if info.resumed else ""))
    assert found == [
        "ECDHE-Curve25519",
        "ECDHE-Curve25519 resumed",
        "ECDHE-Curve25519",
        "MLKEM768-X25519",
        "MLKEM768-X25519 resumed",
    ]


@pytest.mark.parametrize("passive", ["client", "server"])
def test_a_simultaneous_open(passive: str) -> None:
    world = World.encrypting(ENO)
    client, server = crossing(world, (passive,))
    works(world, client, server)
    for info in infos(world):
        assert info.suite is not None
        assert info.suite.startswith("MLKEM768-X25519/")


@pytest.mark.parametrize("suite", [HYBRID, replace(AUTO, eno=HYBRID.eno)], ids=["eno", "auto"])
def test_the_tep_alone_is_an_offer_of_tcp_eno(suite: object) -> None:
    world = World(client=make_engine("c", suite), server=make_engine("s"))  # type: ignore[arg-type]
    world.talk()
    world.assert_encrypted()
    offers = [each.segment.option(ENO_KIND) for each in world.link.log if SYN_ALONE(each)]
    assert offers == [bytes.fromhex("83 a0 5f7b 4100")]


def test_fast_open() -> None:
    """The data of the SYN waits for the keys, behind an Init1 of two segments."""
    cookie = options.encode(34, b"a cookie")
    behaviour = Behaviour(mss=1000, extra_options=cookie, syn_data=text(600))
    world = World.encrypting(ENO)
    client, server = world.connect(behaviour=behaviour)
    assert world.clock.run_until(lambda: bytes(server.received) == text(600), LIMIT), world.trace()
    world.exchange(client, server)
    world.assert_encrypted()


def test_an_application_chooses_it_by_its_two_bytes() -> None:
    for spec, name in ((b"\x20\x41", "MLKEM768-X25519"), (b"\x24", "ECDHE-Curve448")):
        world = World.encrypting(ENO)
        local = Endpoint(world.client.address, 40_000)
        world.client.daemon.set_options(ConnectionOptions(public_key_specs=(spec,)), local)
        client, server = world.connect()
        world.exchange(client, server, 100)
        assert (infos(world)[0].suite or "").startswith(name)


def test_the_original_passes_over_the_offer() -> None:
    """It exits on suboptions that it does not know from 0x80 on, but takes this one for a REKEY."""
    for suite in (ENO, HYBRID):
        world = World.encrypting(replace(suite, original="server"))
        client, server = world.connect()
        world.exchange(client, server, 500)
        assert not world.original.aborted
        world.assert_healthy()
