"""Generations of keys as two daemons agree on them (RFC 8548 sections 3.8 and 3.9)."""

from dataclasses import replace

import pytest

from tcpcryptd.core.event import ConnectionState
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.limits import REKEY_INTERVAL, Limits
from tcpcryptd.wire.segment import FIN
from tests.machine.endpoint import Socket
from tests.machine.link import Crossing, drop, drop_nth, sent_by
from tests.machine.test_eno_exchange import carries
from tests.machine.world import ENO, LIMIT, World, make_engine, text


def rekey(world: World, client: Socket, side: str = "client") -> None:
    host, ends = (world.client, world.ends(client)) if side == "client" else (world.server, world.ends(client)[::-1])
    assert host.daemon.rekey(*ends)
    host.collect()


def generations(world: World, client: Socket) -> tuple[int, int]:
    """Of what the client sends and of what the server sends."""
    ends = world.ends(client)
    found = [world.client.daemon.connection(*ends), world.server.daemon.connection(*ends[::-1])]
    first, second = [info.generation for info in found if info is not None]
    return first, second


def connected(suite: object = None) -> tuple[World, Socket, Socket]:
    world = World(client=make_engine("c", ENO), server=make_engine("s", suite or ENO))  # type: ignore[arg-type]
    client, server = world.connect()
    world.exchange(client, server, 1000)
    return world, client, server


@pytest.mark.parametrize("first", ["client", "server"])
def test_one_rekeying_is_answered_at_once(first: str) -> None:
    """With a frame without data, when there is none to send."""
    world, client, server = connected()
    began = len(world.link.log)
    rekey(world, client, first)
    world.clock.run_for(0.05)
    frames = [each for each in world.link.log[began:] if each.segment.payload_length]
    assert [each.sender for each in frames] == [first, "server" if first == "client" else "client"]
    assert [each.segment.payload[:3] for each in frames] == [b"\x01\0\x11"] * 2
    assert generations(world, client) == (1, 1)
    world.exchange(client, server)
    world.close(client, server)
    world.assert_encrypted()


def test_after_fin_no_frame_answers() -> None:
    world, client, server = connected()
    rekey(world, client)
    world.clock.run_for(1)
    server.shut_down()
    assert world.clock.run_until(lambda: client.peer_finished, LIMIT)
    world.clock.run_for(1)
    began = len(world.link.log)
    world.clock.run_for(REKEY_INTERVAL + 10)
    client.write(text(100))
    world.clock.run_for(1)
    assert generations(world, client) == (2, 1)
    assert not any(each.segment.payload_length for each in world.link.log[began:] if each.sender == "server")
    assert bytes(server.received).endswith(text(100))


def test_what_is_sent_again_has_the_keys_that_it_had() -> None:
    world, client, server = connected()
    lost = drop(sent_by("client"))
    world.link.filters.append(lost)
    client.write(text(3000))
    world.clock.run_for(0.05)
    rekey(world, client)
    client.write(text(3000))
    world.link.filters.remove(lost)
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
    sent: dict[int, bytes] = {}
    for each in (crossing.segment for crossing in world.link.log if crossing.sender == "client"):
        for at, byte in enumerate(each.payload):
            assert sent.setdefault(each.sequence + at, bytes((byte,))) == bytes((byte,))
    assert generations(world, client) == (1, 1)
    world.exchange(client, server)
    world.assert_encrypted()


def test_a_host_that_could_not_follow_does_so_later() -> None:
    """At the bound of frames without data the rest of the generations waits for the next frame."""
    suite = replace(ENO, eno=EnoConfig(limits=Limits(empty_frames=2)))
    world, client, server = connected(suite)
    silent = drop(sent_by("server"))
    world.link.filters.append(silent)
    for _ in range(5):
        rekey(world, client)
        client.write(b"x")
        world.clock.run_for(0.02)
    assert generations(world, client) == (5, 2)
    world.link.filters.remove(silent)
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
    world.clock.run_for(100)
    for _ in range(2):
        client.write(b"y")
        world.clock.run_for(5)
    assert generations(world, client) == (5, 5)
    world.exchange(client, server)
    world.close(client, server)
    world.assert_encrypted()


def test_a_frame_of_host_b_before_init2_is_acknowledged_is_sent_again() -> None:
    """No kernel stands behind it."""
    world = World.encrypting(ENO)
    client = world.open()
    assert world.clock.run_until(lambda: any(carries("Init2")(each) for each in world.link.log), LIMIT)

    def empty(crossing: Crossing) -> bool:
        return crossing.sender == "server" and crossing.segment.payload[:3] == b"\x01\0\x11"

    world.link.filters.append(drop_nth(empty, 1))
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), LIMIT)
    assert [each.state for each in world.server.daemon.connections()] == [ConnectionState.HANDSHAKE]
    world.server.stack.accepted[0].keep_alive()
    world.clock.run_for(20)
    assert generations(world, client) == (1, 1)


@pytest.mark.parametrize("asking", ["client", "server"])
def test_a_keep_alive_is_a_rekeying(asking: str) -> None:
    world, client, server = connected()
    began = len(world.link.log)
    (client if asking == "client" else server).keep_alive()
    world.clock.run_for(1)
    assert generations(world, client) == (1, 1)
    assert sum(each.segment.payload[:3] == b"\x01\0\x11" for each in world.link.log[began:]) == 2


@pytest.mark.parametrize("outage", [20, 400, 3000])
def test_a_keep_alive_is_answered_after_an_outage(outage: float) -> None:
    """Only the frame that answers shows that the peer lives: it is sent until it is acknowledged."""
    world, client, _ = connected()
    silent = drop(sent_by("server"))
    world.link.filters.append(silent)
    client.keep_alive()
    world.clock.run_for(outage)
    world.link.filters.remove(silent)
    world.clock.run_for(70)
    assert generations(world, client) == (1, 1)
    client.keep_alive()
    world.clock.run_for(1)
    assert generations(world, client) == (2, 2)


def test_finp_is_on_the_last_frame_with_fin() -> None:
    """A FIN that comes alone takes a frame without data; no payload of either host follows it."""
    world, client, server = connected()
    world.close(client, server)
    for side in ("client", "server"):
        segments = [each.segment for each in world.link.log if each.sender == side]
        (last,) = [segment for segment in segments if segment.flags & FIN]
        assert last.payload_length == 20
        assert max(segment.end for segment in segments) == last.end
