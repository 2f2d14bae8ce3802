"""A fresh handshake, and transfers over it."""

import pytest

from tests.machine.endpoint import Behaviour
from tests.machine.link import MAC
from tests.machine.world import ENO, FROM_ORIGINAL, LIMIT, MODERN, ORIGINAL, PORT, TO_ORIGINAL, Suite, World, text

ALL_SUITES = pytest.mark.parametrize(
    "suite", [ORIGINAL, MODERN, ENO, FROM_ORIGINAL, TO_ORIGINAL], ids=["original", "modern", "eno", "from", "to"]
)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("suite", [ORIGINAL, MODERN, ENO], ids=["original", "modern", "eno"])
def test_fresh(suite: Suite, version: int) -> None:
    world, client, server = World.opened(suite, version=version)
    world.assert_encrypted()
    info = world.client.daemon.connection(*world.ends(client))
    assert info is not None
    assert info.role == ("A" if suite is ENO else "client")
    assert info.bytes_sent == len(server.received)
    world.close(client, server)
    world.assert_encrypted()


@ALL_SUITES
def test_the_server_speaks_first(suite: Suite) -> None:
    world = World.encrypting(suite)
    client, server = world.connect()
    server.write(text(300, b"220 "))
    assert world.clock.run_until(lambda: len(client.received) == 304, LIMIT)
    client.write(b"HELO ")
    assert world.clock.run_until(lambda: bytes(server.received) == b"HELO ", LIMIT)
    world.assert_encrypted()


@pytest.mark.parametrize("probe_with_data", [False, True])
def test_the_client_sends_at_once(probe_with_data: bool) -> None:
    world = World.encrypting()
    behaviour = Behaviour(probe_with_data=probe_with_data)
    world.server.stack.listen(PORT, behaviour)
    client = world.open(behaviour=behaviour, data=text(50_000))
    client.shut_down()
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT), world.trace()
    (server,) = world.server.stack.accepted
    assert bytes(server.received) == text(50_000)
    assert server.peer_finished
    world.assert_encrypted()


def test_the_window_stays_closed_until_both_have_keys() -> None:
    world = World.encrypting()
    world.open(data=text(1000))
    world.clock.run_until(lambda: world.session_ids()[1] is not None, LIMIT)
    sealed = [crossing for crossing in world.link.log if crossing.segment.option(MAC) is not None]
    first = next(crossing for crossing in sealed if crossing.segment.payload_length)
    assert first.segment.payload_length == 1000
    world.assert_encrypted()


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("ecn", [False, True])
def test_kernels_differ(timestamps: bool, ecn: bool) -> None:
    behaviour = Behaviour(timestamps=timestamps, ecn=ecn)
    world = World.encrypting()
    world.server.stack.listen(PORT, behaviour)
    client, server = world.connect(behaviour=behaviour)
    world.exchange(client, server)
    world.assert_encrypted()
    assert (client.sack, server.sack) == (True, True)


def test_segments_fit_the_link() -> None:
    world = World.encrypting()
    client, server = world.connect()
    world.exchange(client, server, 100_000)
    assert max(len(crossing.packet) for crossing in world.link.log) <= 1500


def test_the_session_ids_of_two_connections_differ() -> None:
    world = World.encrypting()
    world.connect(port=40_000)
    world.clock.run_for(1)
    first = world.session_ids()
    world.connect(port=40_001)
    world.clock.run_for(1)
    second = world.session_ids()
    assert first[0] == first[1] != second[0] == second[1]


@pytest.mark.parametrize("isn", [2**32 - 1, 2**32 - 2, 2**32 - 200, 2**32 - 5000])
@ALL_SUITES
def test_sequence_numbers_wrap(suite: Suite, isn: int) -> None:
    world = World.encrypting(suite)
    client = world.open(isn=isn)
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), LIMIT)
    world.exchange(client, world.server.stack.accepted[0])
    world.assert_encrypted()
