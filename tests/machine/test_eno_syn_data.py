"""Data in SYNs, and Fast Open, beside an ENO option (RFC 8547 section 4.7)."""

from dataclasses import replace

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.eno.constants import ENO as ENO_KIND
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import SYN
from tests.machine.endpoint import Behaviour, Socket
from tests.machine.link import SYN_ACK, SYN_ALONE, Crossing, Filter, Predicate, strip
from tests.machine.world import EACH_SIDE, ENO, LIMIT, PORT, World, make_engine, text

EARLY = b"in the SYN"
COOKIES = [bytes((34, 10)) + b"a cookie", bytes((254, 12)) + b"\xf9\x89" + b"a cookie"]


def with_data(predicate: Predicate) -> Filter:
    """A peer that puts data into a SYN."""

    def apply(crossing: Crossing) -> list[bytes]:
        return [crossing.segment.edited(payload=EARLY) if predicate(crossing) else crossing.packet]

    return apply


def delivered_syns(world: World, receiver: str) -> list[bytes]:
    """Notes the payload of each SYN that a host's kernel gets."""
    host = world.server if receiver == "server" else world.client
    seen: list[bytes] = []
    receive = host.stack.receive

    def note(packet: bytes) -> None:
        segment = Crossing(0.0, "", packet).segment
        if segment.flags & SYN:
            seen.append(segment.payload)
        receive(packet)

    host.stack.receive = note  # type: ignore[method-assign]
    return seen


def both_ways(world: World) -> tuple[Socket, Socket]:
    client, server = world.connect()
    world.exchange(client, server)
    return client, server


@pytest.mark.parametrize("receiver", ["client", "server"])
@pytest.mark.parametrize("fails", [False, True], ids=["ENO succeeds", "ENO fails"])
def test_data_in_a_syn_is_discarded(receiver: str, fails: bool) -> None:
    predicate = SYN_ALONE if receiver == "server" else SYN_ACK
    suite = replace(ENO, eno=ENO.eno.restricted(["ECDHE-Curve25519"]))
    other = replace(ENO, eno=ENO.eno.restricted(["ECDHE-P256"])) if fails else suite
    world = World(client=make_engine("c", suite), server=make_engine("s", other), filters=[with_data(predicate)])
    if fails and receiver == "client":
        # A SYN ACK with an option that does not help.
        world.server.engine = make_engine("s", suite)
        world.link.filters.insert(0, _another_tep)
    seen = delivered_syns(world, receiver)
    both_ways(world)
    assert seen
    assert not any(seen)
    if fails:
        world.assert_plain()
    else:
        world.assert_encrypted()


def _another_tep(crossing: Crossing) -> list[bytes]:
    segment = crossing.segment
    if not SYN_ACK(crossing):
        return [crossing.packet]
    return [segment.edited(option_area=options.replace(segment.option_area, {ENO_KIND: b"\x01\x7f"}))]


@pytest.mark.parametrize("because", ["configuration", "application", "full table"])
def test_data_is_discarded_also_where_eno_is_disabled(because: str) -> None:
    config = {
        "configuration": EngineConfig(answers=("crypt",)),
        "application": EngineConfig(),
        "full table": EngineConfig(max_connections=0),
    }[because]
    world = World(client=make_engine("c", ENO), server=make_engine("s", ENO, config), filters=[with_data(SYN_ALONE)])
    if because == "application":
        off = ConnectionOptions(enabled=False)
        world.server.daemon.set_options(off, Endpoint(world.server.address, PORT))
    seen = delivered_syns(world, "server")
    both_ways(world)
    assert seen == [b""]
    world.assert_plain()


def test_data_of_a_peer_without_eno_is_left_alone() -> None:
    world = World(server=make_engine("s", ENO), filters=[with_data(SYN_ALONE)])
    seen = delivered_syns(world, "server")
    world.open()
    world.clock.run_for(0.1)
    assert seen == [EARLY]


@pytest.mark.parametrize("cookie", COOKIES, ids=["Fast Open", "experiment"])
@EACH_SIDE
def test_no_cookie_goes_out_beside_the_option(side: str, cookie: bytes) -> None:
    """Nor does data: the kernel sends it again when the SYN ACK does not acknowledge it."""
    world = World.encrypting(ENO)
    fast = Behaviour(extra_options=cookie)
    if side == "server":
        world.server.stack.listen(PORT, fast)
    client, server = world.connect(behaviour=fast if side == "client" else None)
    world.exchange(client, server)
    for crossing in world.link.log:
        segment = crossing.segment
        if segment.flags & SYN:
            assert segment.option(ENO_KIND) is not None
            assert not segment.payload_length
            assert not {34, 254}.intersection(kind for kind, _ in segment.options)
    world.assert_encrypted()


def test_a_local_syn_loses_its_data_with_the_offer() -> None:
    world = World.encrypting(ENO)
    emit = world.client.stack.emit

    def send(packet: bytes) -> None:
        crossing = Crossing(0.0, "client", packet)
        emit(crossing.segment.edited(payload=EARLY) if SYN_ALONE(crossing) else packet)

    world.client.stack.emit = send
    client = world.open(data=text(3000))
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
    assert not any(EARLY in crossing.packet for crossing in world.link.log)
    world.assert_encrypted()


def test_the_first_syn_without_an_option_may_have_its_data() -> None:
    """It is the kernel's own business then."""
    world = World.encrypting(ENO, filters=[strip(ENO_KIND, SYN_ALONE), with_data(SYN_ALONE)])
    seen = delivered_syns(world, "server")
    client = world.open()
    assert world.clock.run_until(lambda: bool(seen), LIMIT)
    assert seen[0] == EARLY
    assert client.error is None
