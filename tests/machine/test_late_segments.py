"""Segments that have waited in a daemon's queue while the connection went on without them."""

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.verdict import Action, ConnectionClass, Direction
from tcpcryptd.wire.segment import RST, SYN, Segment, locate, make
from tests.machine.endpoint import Socket
from tests.machine.host import Host
from tests.machine.link import CRYPT, NO_SYN, Crossing, all_of, drop, has_flags, sent_by, strip
from tests.machine.test_limits import flood_syn
from tests.machine.world import ALL, ENO, LIMIT, MODERN, ORIGINAL, Suite, World, make_engine, text

SUITES = pytest.mark.parametrize("suite", [ALL, ENO], ids=["crypt", "eno"])
SYN_ACK = all_of(has_flags(SYN, SYN), sent_by("server"))


def syn_of(socket: Socket) -> bytes:
    """As the kernel sends it again."""
    return make(socket.key, sequence=socket.isn, acknowledgment=0, flags=SYN, window=64_000)


def handle(host: Host, packet: bytes, direction: Direction) -> tuple[Action, ConnectionClass]:
    action, changed, connection_class = host.daemon.handle_packet(packet, direction, host.clock.now)
    assert changed is None
    return action, connection_class


@SUITES
@pytest.mark.parametrize("size", [0, 3000])
def test_a_syn_of_a_connection_that_is_plain(suite: Suite, size: int) -> None:
    """It does not begin the negotiation again."""
    world = World.encrypting(suite, filters=[strip(CRYPT, SYN_ACK)])
    client, server = world.connect()
    if size:
        world.exchange(client, server, size)
    offered = next(each.packet for each in world.link.log if has_flags(SYN, SYN)(each))
    assert handle(world.client, syn_of(client), Direction.OUT) == (Action.ACCEPT, ConnectionClass.PLAIN)
    if size:
        assert handle(world.server, offered, Direction.IN) == (Action.ACCEPT, ConnectionClass.PLAIN)
    world.exchange(client, server)
    world.assert_plain()


@SUITES
def test_another_syn_with_the_same_ports_is_negotiated(suite: Suite) -> None:
    world = World.encrypting(suite, filters=[strip(CRYPT, SYN_ACK)])
    world.close(*world.connect())
    world.clock.run_for(130)
    world.link.filters.clear()
    world.exchange(*world.connect())
    world.assert_encrypted()


@SUITES
@pytest.mark.parametrize("size", [0, 3000])
def test_the_syn_of_an_open_connection(suite: Suite, size: int) -> None:
    world = World.encrypting(suite)
    client, server = world.connect()
    if size:
        world.exchange(client, server, size)
    assert handle(world.client, syn_of(client), Direction.OUT)[0] is Action.DROP
    world.exchange(client, server)
    world.close(client, server)
    assert handle(world.client, syn_of(client), Direction.OUT)[0] is Action.DROP
    world.assert_encrypted()


@SUITES
def test_the_syn_of_a_connection_that_was_reset(suite: Suite) -> None:
    world, client, _ = World.opened(suite)
    assert world.client.daemon.reset(*world.ends(client))
    assert handle(world.client, syn_of(client), Direction.OUT)[0] is Action.DROP
    data = make(client.key, sequence=client.isn + 1, acknowledgment=1, flags=0x10, window=1, payload=text(100))
    action, reset, _ = world.client.daemon.handle_packet(data, Direction.OUT, world.clock.now)
    assert action is Action.MODIFY
    assert reset is not None
    sent = Segment(reset, locate(reset)[0])
    assert sent.flags & RST
    assert not sent.payload_length


@SUITES
def test_data_of_an_earlier_connection_behind_a_new_syn(suite: Suite) -> None:
    """The queues are several: what is later in one may be handled before."""
    world = World.encrypting(suite)
    client = world.open()
    world.clock.run_until(lambda: world.client.diverted > 0, 1)
    old = make(client.key, sequence=client.isn - 10_000, acknowledgment=1, flags=0x10, window=1, payload=text(100))
    assert handle(world.client, old, Direction.OUT)[0] is Action.DROP


@SUITES
def test_a_kernel_that_answers_the_syn_of_an_open_connection_again(suite: Suite) -> None:
    """Its queue of connections to be accepted is full, say."""
    world, client, server = World.opened(suite)
    syn, syn_ack = (next(each for each in world.link.log if each.sender == name) for name in ("client", "server"))
    for crossing, direction in ((syn, Direction.IN), (syn_ack, Direction.OUT)):
        _, _, connection_class = world.server.daemon.handle_packet(crossing.packet, direction, world.clock.now)
        assert connection_class is not ConnectionClass.PLAIN
    world.exchange(client, server)
    world.assert_encrypted()


@pytest.mark.parametrize("suite", [ORIGINAL, MODERN], ids=["original", "modern"])
@pytest.mark.parametrize("size", [0, 2000])
def test_init2_that_comes_when_the_client_has_given_up(suite: Suite, size: int) -> None:
    """No application gets it, and both learn that the connection is over."""
    world = World.encrypting(suite)
    client = world.open(data=text(size))
    late: list[Crossing] = []

    def hold(crossing: Crossing) -> list[bytes]:
        if NO_SYN(crossing) and crossing.sender == "client":
            late.append(crossing)
            return []
        return [crossing.packet]

    world.link.filters.append(hold)
    world.clock.run_for(9)
    world.link.filters.clear()
    world.server.receive(late[0].packet)
    assert world.clock.run_until(lambda: client.error is not None, LIMIT), world.trace()
    world.clock.run_for(60)
    assert not client.received
    assert not any(each.received for each in world.server.stack.accepted)
    assert not world.server.stack.sockets


def test_frames_of_a_peer_whose_handshake_was_dropped() -> None:
    """It resumes, so that its first segment may be a frame: the kernel must not get it."""
    world = World(client=make_engine("c", ENO), server=make_engine("s", ENO, EngineConfig(max_opening=2)))
    world.close(*world.connect())
    world.close(*world.connect(port=40_001))
    world.link.filters.append(drop(all_of(NO_SYN, sent_by("client"))))
    client = world.open(port=40_002, data=text(500))
    world.clock.run_for(0.5)
    for number in range(5):
        world.server.daemon.handle_packet(flood_syn(number, b"\x45\x03\x23"), Direction.IN, world.clock.now)
    assert world.server.daemon.connection(Endpoint("10.0.0.2", 80), Endpoint("10.0.0.1", 40_002)) is None
    world.link.filters.clear()
    assert world.clock.run_until(lambda: client.error is not None, LIMIT), world.trace()
    assert not any(each.received for each in world.server.stack.accepted)
    world.assert_nothing_in_clear()


def test_a_plain_connection_with_a_segment_of_an_encrypted_one_before_it_is_told_of_once() -> None:
    world, client, server = World.opened(filters=[strip(CRYPT, SYN_ACK)])
    engine, (local, remote) = world.client.engine, world.ends(client)
    assert engine is not None
    stale = make(server.key, sequence=1, acknowledgment=1, flags=0x10, window=1, payload=b"x")
    engine.handle_packet(stale, Direction.IN, world.clock.now, ConnectionClass.ENCRYPTED)
    assert len([each for each in engine.connections() if (each.local, each.remote) == (local, remote)]) == 1
