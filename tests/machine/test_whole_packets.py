"""What the kernel sends of a `crypt` connection comes in packets of many segments, and leaves in segments."""

from dataclasses import replace
from random import Random

import pytest

from tcpcryptd.core.event import InternalError
from tcpcryptd.core.path_mtu import PathMtus
from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.crypto.suites import SymmetricSuite
from tcpcryptd.wire.segment import FIN, PSH
from tests.machine.endpoint import Behaviour, Socket
from tests.machine.link import MAC, Conditions, drop, drop_nth
from tests.machine.test_rekeying import OFTEN, SUITES, Spy
from tests.machine.world import ALL, MARKER, MODERN, ORIGINAL, PORT, Suite, World

MTU = 1500
WHOLE = Behaviour(segments_in_packet=6, mss=1440)
WITHOUT_TIMESTAMPS = Behaviour(segments_in_packet=6, mss=1440, timestamps=False)


def whole(suite: Suite) -> Suite:
    """The suite with daemons that take packets before they are cut."""
    return replace(suite, whole_packets=True)


def connect(world: World, behaviour: Behaviour) -> tuple[Socket, Socket]:
    """Both kernels leave their packets to be cut."""
    world.server.stack.listen(PORT, behaviour)
    return world.connect(behaviour=behaviour)


def came_whole(world: World) -> bool:
    return world.client.diverted_whole > 0 and world.server.diverted_whole > 0


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("behaviour", [WHOLE, WITHOUT_TIMESTAMPS], ids=["timestamps", "bare"])
@pytest.mark.parametrize("suite", [MODERN, ORIGINAL], ids=["modern", "original"])
def test_an_exchange(suite: Suite, behaviour: Behaviour, version: int) -> None:
    world = World.encrypting(whole(suite), version=version)
    client, server = connect(world, behaviour)
    world.exchange(client, server, 200_000)
    world.assert_encrypted()
    assert came_whole(world)
    assert {entry.mark for host in world.hosts for entry in host.tracked.values()} == {ConnectionClass.STREAM}
    assert max(len(crossing.packet) for crossing in world.link.log) <= MTU
    for crossing in world.link.log:
        if crossing.segment.payload_length and crossing.segment.option(MAC) is not None:
            assert crossing.segment.checksum_is_right, str(crossing)
    world.close(client, server)


def test_a_packet_with_the_last_byte_ends_with_fin() -> None:
    world = World.encrypting(whole(ALL))
    client, server = connect(world, WHOLE)
    world.exchange(client, server)
    world.link.log.clear()
    before = world.client.diverted_whole
    client._to_send += MARKER * 600
    client.shut_down()
    assert world.clock.run_until(lambda: server.peer_finished, 30)
    assert world.client.diverted_whole > before
    sent = [crossing.segment for crossing in world.link.log if crossing.sender == "client"]
    data = [segment for segment in sent if segment.payload_length]
    assert [bool(segment.flags & FIN) for segment in data] == [False] * (len(data) - 1) + [True]
    assert data[-1].flags & PSH
    server.shut_down()
    assert world.clock.run_until(lambda: client.finished and server.finished, 30)
    world.assert_encrypted()


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("isn", [1000, 2**32 - 50_000])
def test_keys_change_within_a_packet(suite: SymmetricSuite, isn: int) -> None:
    spy = Spy(suite, OFTEN)
    world = World.encrypting(whole(spy.suite))
    world.server.stack.listen(PORT, WHOLE)
    client = world.open(isn=isn, behaviour=WHOLE)
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), 10)
    server = world.server.stack.accepted[0]
    world.exchange(client, server, 200_000)
    world.assert_encrypted()
    assert came_whole(world)
    assert len(spy.sealed) >= 10
    spy.assert_no_byte_sealed_twice()
    world.close(client, server)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_a_bad_path(suite: SymmetricSuite) -> None:
    """What is lost is sent again in single segments, across changes of keys."""
    for seed in range(10):
        random = Random(seed)
        spy = Spy(suite, OFTEN)
        conditions = Conditions(
            loss=random.uniform(0.01, 0.1), duplication=0.05, reordering=0.2, corruption=0.02, delay=0.02
        )
        world = World.encrypting(whole(spy.suite), seed=seed, conditions=conditions, version=random.choice((4, 6)))
        client, server = connect(world, WHOLE)
        world.exchange(client, server, 100_000)
        world.close(client, server)
        assert came_whole(world)
        assert not any(isinstance(event, InternalError) for host in world.hosts for event in host.events)
        assert MARKER not in b"".join(crossing.packet for crossing in world.link.log)
        spy.assert_no_byte_sealed_twice()


def test_what_is_sent_again_is_the_same() -> None:
    """A lost piece comes again with the same bytes at the same place: its cipher must not see others there."""
    spy = Spy(SUITES[0])
    world = World.encrypting(whole(spy.suite))
    client, server = connect(world, WHOLE)
    lost = drop_nth(lambda crossing: crossing.sender == "client" and crossing.segment.payload_length > 1000, 3)
    world.link.filters.append(lost)
    world.exchange(client, server, 60_000)
    world.assert_encrypted()
    sealed = [entry for entries in spy.sealed.values() for entry in entries]
    again = {entry[:2] for entry in sealed if sealed.count(entry) > 1}
    assert again
    spy.assert_no_byte_sealed_twice()


def test_a_narrower_path_is_met_before_the_first_packet() -> None:
    """The kernel would cut to the path that it knows; of a whole packet it does not say how."""
    world = World.encrypting(whole(ALL))
    for host in world.hosts:
        host.daemon._services.path_mtus = PathMtus(lambda _: 1400, 1)
    too_long = drop(lambda crossing: len(crossing.packet) > 1400)
    world.link.filters.append(too_long)
    client, server = connect(world, WHOLE)
    world.exchange(client, server, 60_000)
    world.assert_encrypted()
    assert came_whole(world)
    assert max(len(crossing.packet) for crossing in world.link.log) <= 1400


def test_a_black_hole_that_the_kernel_has_found() -> None:
    """It sends smaller segments then (RFC 4821): of a whole packet that shows in what is sent again."""
    world = World.encrypting(whole(ALL))
    client, server = connect(world, WHOLE)
    world.exchange(client, server, 3000)
    world.link.filters.append(drop(lambda crossing: len(crossing.packet) > 1300))
    client._mss = server._mss = 1200
    world.link.log.clear()
    world.exchange(client, server, 100_000)
    world.assert_encrypted()
    assert came_whole(world)
    lost = sum(len(crossing.packet) > 1300 for crossing in world.link.log)
    assert 0 < lost < 0.2 * len(world.link.log)
    world.close(client, server)


def test_a_black_hole_that_the_kernel_has_found_at_the_second_try() -> None:
    """Its segments are so small then that only what was sent again before tells them from an application's."""
    world = World.encrypting(whole(ALL))
    client, server = connect(world, WHOLE)
    world.exchange(client, server, 3000)
    world.link.filters.append(drop(lambda crossing: len(crossing.packet) > 900))
    client.write(MARKER * 3000)
    for mss in (1200, 700):
        client._mss = mss
        world.link.log.clear()
        world.clock.run_for(5.0)
    assert world.clock.run_until(lambda: client.all_acknowledged, 60.0), world.trace()
    world.assert_encrypted()
    lost = sum(len(crossing.packet) > 900 for crossing in world.link.log)
    assert lost < 0.2 * len(world.link.log)
    world.close(client, server)


def test_merged_segments_are_not_authentic() -> None:
    """A peer that repeats a MAC option lets its segments be merged: they come in as one that was never sealed."""
    world = World.encrypting(whole(ALL))
    client, server = connect(world, WHOLE)
    world.exchange(client, server)
    world.link.log.clear()
    client.write(MARKER * 170)
    world.clock.run_for(0.005)
    first, second = (crossing.segment for crossing in world.link.log if crossing.segment.payload_length)
    merged = first.edited(payload=first.payload + second.payload)
    before = world.server.daemon.counters().get("integrity_failures", 0)
    received = len(server.received)
    world.server.receive(merged)
    assert len(server.received) == received
    assert world.server.daemon.counters()["integrity_failures"] == before + 1
