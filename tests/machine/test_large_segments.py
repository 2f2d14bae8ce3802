"""Links whose segments nearly fill the largest IP packet: nothing is larger than a queue's message carries."""

from dataclasses import replace

import pytest

from tcpcryptd.eno.stream import aperture
from tcpcryptd.wire.options import MSS
from tests.machine.endpoint import Behaviour
from tests.machine.world import ALL, ENO, PORT, Suite, World

MESSAGE = 65_531
"""Bytes of IP packet that the kernel's message holds."""
LARGEST = {4: Behaviour(mss=65_535 - 40), 6: Behaviour(mss=65_535 - 60)}
"""As kernels announce it where the MTU is 65,535 or 65,536."""
SUITES = pytest.mark.parametrize("suite", [ALL, replace(ALL, whole_packets=True), ENO], ids=["crypt", "whole", "eno"])


def value(mss: bytes | None) -> int:
    assert mss is not None
    return int.from_bytes(mss, "big")


@SUITES
@pytest.mark.parametrize("version", [4, 6])
def test_segments_fit_the_message(suite: Suite, version: int) -> None:
    world = World.encrypting(suite, version=version)
    world.server.stack.listen(PORT, LARGEST[version])
    client, server = world.connect(behaviour=LARGEST[version])
    headers = (20 if version == 4 else 40) + 20 + 40
    for socket in (client, server):
        # Linux puts two segments in a packet however large they are; a frame is 20 bytes longer.
        assert 2 * socket._mss + 20 + headers <= MESSAGE
    syns = [crossing.segment for crossing in world.link.log if crossing.segment.flags & 2]
    assert len(syns) == 2
    for syn in syns:
        # A peer without this daemon sends as much in one segment.
        assert value(syn.option(MSS)) + headers - 40 <= MESSAGE
        assert value(syn.option(MSS)) > 65_000
    world.exchange(client, server, 200_000)
    world.assert_encrypted()
    world.close(client, server)


@SUITES
def test_usual_segments_are_left_as_they_are(suite: Suite) -> None:
    world = World.encrypting(suite)
    client, server = world.connect()
    syns = [crossing.segment for crossing in world.link.log if crossing.segment.flags & 2]
    assert {value(syn.option(MSS)) for syn in syns} == {1460}
    world.close(client, server)


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_that_only_begins_here(version: int) -> None:
    """The kernel handed over a part: its connection is known all the same, whatever the length says."""
    world, client, server = World.opened(ENO, version=version)
    engine = world.client.daemon
    client.write(b"x" * 1400)
    world.clock.run_for(1.0)
    packet = next(
        each.packet for each in reversed(world.link.log) if each.sender == "client" and len(each.packet) > 1000
    )
    jumbo = b"\x06\x00\xc2\x04" + (1 << 17).to_bytes(4, "big")
    begun = {
        4: [packet[:2] + bytes(2) + packet[4:800]],
        # With the option and, as later kernels have it, without.
        6: [packet[:4] + bytes(3) + packet[7:40] + jumbo + packet[40:800], packet[:4] + bytes(2) + packet[6:800]],
    }[version]
    for each in (*begun, packet[:500]):
        for connection in engine._table:
            connection.outgrown = False
        engine.outgrown(each)
        assert [connection.outgrown for connection in engine._table] == [True]
    for stray in (b"", b"\x45" + bytes(50), packet[:20], packet[:12] + bytes(40)):
        engine.outgrown(stray)
    assert engine.counters()["outgrown"] == len(begun) + 1
    world.exchange(client, server, 200_000)
    world.assert_encrypted()
    world.close(client, server)


@pytest.mark.interpreted
@pytest.mark.parametrize("timestamps", [True, False])
def test_a_kernel_that_made_too_large_a_packet_is_shown_little_room(
    monkeypatch: pytest.MonkeyPatch, timestamps: bool
) -> None:
    monkeypatch.setattr(aperture, "ROOM", 4_000)
    monkeypatch.setattr(aperture, "IN_FLIGHT", 8_000)
    behaviour = Behaviour(timestamps=timestamps)
    world = World.encrypting(ENO)
    world.server.stack.listen(PORT, behaviour)
    client, server = world.connect(behaviour=behaviour)
    world.exchange(client, server)
    for connection in world.client.daemon._table:
        connection.outgrown = True
    world.exchange(client, server, 20_000)
    client.write(bytes(60_000))
    room, in_flight = [], []

    def arrived() -> bool:
        room.append(client._acknowledged + client._window - client._next)
        in_flight.append(client._next - client._acknowledged)
        return len(server.received) >= 60_000

    before = len(server.received)
    server.received.clear()
    assert before
    assert world.clock.run_until(arrived, 30)
    assert max(room) <= 4_000
    # With no more than each acknowledgment lets go it would be half of that.
    assert 4_000 < max(in_flight) <= 8_000 + 4_000
    world.assert_encrypted()
    world.close(client, server)
