"""Somebody on the path repeats, reflects, cuts off and forges: the application gets what was sent, or nothing."""

import pytest

from tcpcryptd.core.event import Negotiated
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypt.option import Suboption, encode
from tcpcryptd.wire.segment import ACK, FIN, RST, SYN, make, reverse_key
from tests.machine.endpoint import State
from tests.machine.link import MAC, Crossing, any_packet, drop, sent_by
from tests.machine.test_attack import Attacker
from tests.machine.test_sessions import resumed, talk
from tests.machine.world import EACH_PROTOCOL, EACH_SIDE, LIMIT, Suite, World, text


def flow_of(crossing: Crossing) -> bytes:
    segment = crossing.segment
    return segment.addresses + crossing.packet[segment.offset : segment.offset + 4]


def reflected(crossing: Crossing) -> bytes:
    segment = crossing.segment
    return make(
        reverse_key(flow_of(crossing)),
        sequence=segment.sequence,
        acknowledgment=segment.acknowledgment,
        flags=segment.flags,
        window=segment.window,
        option_area=segment.option_area,
        payload=segment.payload,
    )


@EACH_SIDE
@EACH_PROTOCOL
def test_a_host_does_not_take_its_own_segments_for_the_peers(side: str, suite: Suite) -> None:
    world, client, server = World.opened(suite)
    victim = world.host(side)
    received = len((client if side == "client" else server).received)
    for crossing in [each for each in world.link.log if each.sender == side and not each.segment.flags & SYN]:
        victim.receive(reflected(crossing))
    world.clock.run_for(1)
    assert len((client if side == "client" else server).received) == received
    world.exchange(client, server)
    world.close(client, server)
    world.assert_nothing_in_clear()


@EACH_SIDE
@EACH_PROTOCOL
@pytest.mark.parametrize("stage", range(2, 6))
def test_a_handshake_is_reflected(side: str, stage: int, suite: Suite) -> None:
    """No session comes from one's own messages, and nothing is in clear once there is one."""
    world = World.encrypting(suite)
    client = world.open(data=text(2000))
    assert world.clock.run_until(lambda: len(world.link.log) >= stage, LIMIT)
    victim = world.host(side)
    for crossing in [each for each in world.link.log if each.sender == side and not each.segment.is_opening]:
        victim.receive(reflected(crossing))
    world.clock.run_for(60)
    ids = world.session_ids()
    assert ids[0] == ids[1]
    assert client.state is not State.OPEN or client.all_acknowledged
    for each in world.server.stack.accepted:
        assert text(2000).startswith(bytes(each.received))


@EACH_PROTOCOL
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "resumed"])
def test_a_whole_connection_is_replayed_to_the_server(suite: Suite, fresh: bool) -> None:
    """The same INIT1 or NEXTK1 again, and the same data, sealed with the keys of then."""
    world = World.encrypting(suite)
    if not fresh:
        world.close(*talk(world, 40_001))
        world.clock.run_for(300)
    world.link.log.clear()
    client, server = talk(world, 40_002)
    assert resumed(world) == (not fresh, not fresh)
    world.close(client, server)
    world.clock.run_for(300)
    recorded = [crossing.packet for crossing in world.link.log if crossing.sender == "client"]
    # The true client would end what it does not know.
    world.link.filters.append(drop(any_packet))
    accepted, events = len(world.server.stack.accepted), len(world.server.events)
    for packet in recorded:
        world.link.deliver("client", packet)
        world.clock.run_for(0.02)
    world.clock.run_for(60)
    assert [bytes(each.received) for each in world.server.stack.accepted[accepted:]] in ([], [b""])
    assert not any(isinstance(event, Negotiated) for event in world.server.events[events:])


@EACH_SIDE
def test_a_stream_is_not_cut_off_unnoticed(side: str) -> None:
    """What a host sends is swallowed, and a FIN forged in its place: the other application sees no end."""
    world, client, server = World.opened()
    speaker, listener = (client, server) if side == "client" else (server, client)
    received = len(listener.received)
    blackhole = drop(sent_by(side))
    world.link.filters.append(blackhole)
    speaker.write(text(4000))
    attacker = Attacker(world, client)
    for flags in (FIN | ACK, FIN):
        attacker.forge(side, flags)
        attacker.forge(side, flags, ahead=-4000)
    world.clock.run_for(1)
    assert (listener.peer_finished, len(listener.received), listener.error) == (False, received, None)
    world.link.filters.remove(blackhole)
    assert world.clock.run_until(lambda: len(listener.received) == received + 4000, LIMIT)
    world.exchange(client, server)


@EACH_SIDE
@pytest.mark.parametrize("generation", [0, 1, 2, 255])
@pytest.mark.parametrize("with_mac", [False, True], ids=["no MAC", "a wrong MAC"])
def test_new_keys_are_announced_by_somebody_else(side: str, generation: int, with_mac: bool) -> None:
    world, client, server = World.opened()
    area = encode(Suboption(Opcode.REKEY, bytes((generation,)) + bytes(4)))
    if with_mac:
        area += bytes((MAC, 18)) + bytes(16)
    Attacker(world, client).forge(side, ACK, options=area)
    world.exchange(client, server)
    for host, ends in ((world.client, world.ends(client)), (world.server, world.ends(client)[::-1])):
        info = host.daemon.connection(*ends)
        assert info is not None
        assert info.generation == 0
    world.close(client, server)
    world.assert_nothing_in_clear()


@EACH_PROTOCOL
@EACH_SIDE
@pytest.mark.parametrize("secure", [False, True], ids=["RST obeyed", "SECURST"])
def test_an_exact_rst(suite: Suite, side: str, secure: bool) -> None:
    world, client, server = World.opened(suite)
    victim, host = (server, world.server) if side == "client" else (client, world.client)
    ends = world.ends(client) if side == "server" else world.ends(client)[::-1]
    assert host.daemon.set_options(ConnectionOptions(secure_reset=secure), *ends)
    Attacker(world, client).forge(side, RST)
    assert victim.error == (None if secure else "reset")
    if secure:
        world.exchange(client, server)
    world.assert_nothing_in_clear()


@EACH_SIDE
def test_an_acknowledgment_of_what_was_not_sent(side: str) -> None:
    world, client, server = World.opened()
    newest = world.link.log[-1].segment
    packet = make(
        client.key if side == "client" else reverse_key(client.key),
        sequence=newest.acknowledgment,
        acknowledgment=newest.sequence + 50_000 & 0xFFFFFFFF,
        flags=ACK,
        window=0,
    )
    world.link.deliver(side, packet)
    world.exchange(client, server)
    world.close(client, server)
    world.assert_nothing_in_clear()


@EACH_SIDE
def test_a_handshake_message_is_replayed_into_another_connection(side: str) -> None:
    """INIT1 or INIT2 of an earlier connection, in the numbers of the present one."""
    world = World.encrypting()
    client, server = world.connect(port=40_001)
    world.exchange(client, server, 1000)
    world.close(client, server)
    opcode = Opcode.INIT1 if side == "client" else Opcode.INIT2
    old = next(
        each.segment for each in world.link.log if each.sender == side and each.segment.option(69) == bytes((opcode,))
    )
    for host in world.hosts:
        host.daemon.flush_sessions()

    def exchanged(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if crossing.sender != side or segment.option(69) != bytes((opcode,)):
            return [crossing.packet]
        return [segment.edited(payload=old.payload)]

    before = [(host, len(host.events)) for host in world.hosts]
    world.link.filters.append(exchanged)
    world.open(port=40_002, data=text(500))
    world.clock.run_for(60)
    new = [{event.session_id for event in host.events[seen:] if isinstance(event, Negotiated)} for host, seen in before]
    assert not new[0] & new[1]
    for each in world.server.stack.accepted[1:]:
        assert text(500).startswith(bytes(each.received))
