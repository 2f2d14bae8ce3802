"""Frames of packets with a few segments fill segments: none leaves with a frame's last 20 bytes alone."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpcryptd.eno.config import EnoConfig
from tcpcryptd.eno.cutting import Cutting
from tcpcryptd.netio.packets.forwarded import cut
from tcpcryptd.wire.segment import FIN, PSH, Segment
from tcpcryptd.wire.sequence import difference
from tests.machine.endpoint import Behaviour, Socket
from tests.machine.icmp import too_big_error
from tests.machine.link import Conditions, Crossing, drop_nth
from tests.machine.world import ENO, LIMIT, PORT, Suite, World, text

MTU = 1500
MSS = 1440
OVERHEAD = 20
SEGMENT = 1408
"""Bytes of plaintext in a full segment with timestamps."""


def cutting(together: int = 1000) -> Suite:
    """An engine that cuts so many packets at a time; a simulated kernel sends all that its window allows at once."""
    return replace(ENO, eno=EnoConfig(cutting=Cutting(together=together)))


def connected(
    segments: int, timestamps: bool = True, suite: Suite | None = None, **arguments: object
) -> tuple[World, Socket, Socket]:
    """Both kernels make packets of so many segments; the handshake is not in the log."""
    behaviour = Behaviour(segments_in_packet=segments, mss=MSS, timestamps=timestamps, in_flight=64_000)
    world = World.encrypting(suite or cutting(), **arguments)
    world.server.stack.listen(PORT, behaviour)
    client, server = world.connect(behaviour=behaviour)
    world.exchange(client, server, 1_000)

    def segmented(crossing: Crossing) -> list[bytes]:
        """As the kernel cuts what is left to it; these are what the log has then."""
        header = len(crossing.packet) - crossing.segment.payload_length
        if len(crossing.packet) <= MTU:
            return [crossing.packet]
        pieces = cut(crossing.packet, header + full(timestamps))
        world.link.log[-1:] = [Crossing(crossing.time, crossing.sender, piece) for piece in pieces]
        return pieces

    world.link.filters.append(segmented)
    world.link.log.clear()
    return world, client, server


def full(timestamps: bool = True) -> int:
    """Bytes of plaintext in a full segment."""
    return SEGMENT if timestamps else SEGMENT + 12


def send(world: World, client: Socket, server: Socket, size: int) -> None:
    """From the client alone."""
    before = len(server.received)
    client.write(text(size))
    assert world.clock.run_until(lambda: len(server.received) == before + size, LIMIT), world.trace()
    assert bytes(server.received[before:]) == text(size)
    world.assert_encrypted()


def sent_by(world: World, name: str = "client") -> list[Segment]:
    """Its segments with data."""
    return [each.segment for each in world.link.log if each.sender == name and each.segment.payload_length]


def assert_never_changed(world: World) -> None:
    """Each byte of the stream on the wire is the same whenever it is sent."""
    for name in ("client", "server"):
        segments = sent_by(world, name)
        wire: dict[int, int] = {}
        for segment in segments:
            at = difference(segment.sequence, segments[0].sequence)
            for offset, byte in enumerate(segment.payload, at):
                assert wire.setdefault(offset, byte) == byte


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("segments", [2, 3])
def test_there_are_as_many_segments_as_of_plaintext(segments: int, timestamps: bool, version: int) -> None:
    world, client, server = connected(segments, timestamps, version=version)
    plain = full(timestamps)
    send(world, client, server, 24 * plain)
    sizes = Counter(segment.payload_length for segment in sent_by(world))
    assert sizes == {plain + OVERHEAD: 24 // segments, plain: 24 - 24 // segments}
    assert all(segment.checksum_is_right for segment in sent_by(world))
    # The kernel says it in the last segment of a packet.
    assert sum(bool(segment.flags & PSH) for segment in sent_by(world)) == 24 // segments


def test_what_is_written_last_is_not_held_back() -> None:
    world, client, server = connected(2)
    for size in (1, 19, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT - 1, 2 * SEGMENT, 2 * SEGMENT + 1, 3 * SEGMENT):
        world.link.log.clear()
        began = world.clock.now
        send(world, client, server, size)
        assert world.clock.now - began < 0.05
        assert sum(segment.payload_length for segment in sent_by(world)) == size + OVERHEAD * -(-size // (2 * SEGMENT))
    world.close(client, server)
    assert sum(bool(segment.flags & FIN) for segment in (each.segment for each in world.link.log)) == 2


@pytest.mark.parametrize("lost", range(1, 7))
def test_a_lost_segment_is_one_lost_one_to_the_kernel(lost: int) -> None:
    world, client, server = connected(3)
    world.link.filters.append(drop_nth(lambda crossing: crossing.sender == "client" and is_data(crossing), lost))
    send(world, client, server, 24 * SEGMENT)
    assert client.timeouts == 0
    again = Counter((segment.sequence, segment.payload) for segment in sent_by(world))
    assert sorted(again.values()) == [1] * 23 + [2]


def is_data(crossing: Crossing) -> bool:
    return crossing.segment.payload_length > 0


@settings(max_examples=15)
@given(seed=st.integers(0, 1 << 16), segments=st.integers(2, 4), loss=st.sampled_from([0.0, 0.02, 0.1]))
def test_over_any_link(seed: int, segments: int, loss: float) -> None:
    world, client, server = connected(segments, seed=seed)
    # Not before: with two SYNs lost, the connection is plain.
    world.link.conditions = Conditions(loss=loss, reordering=0.1, duplication=0.05)
    world.exchange(client, server, 100_000)
    world.close(client, server)
    world.assert_encrypted()
    assert_never_changed(world)


def test_larger_packets_are_left_to_the_kernel() -> None:
    world, client, server = connected(4)
    send(world, client, server, 90 * SEGMENT)
    assert OVERHEAD in {segment.payload_length for segment in sent_by(world)}


def test_a_narrower_path() -> None:
    """Segments that were too large for it come again in smaller ones, and new ones are no larger."""
    world, client, server = connected(2)
    narrow = 1300
    told: list[bytes] = []

    def too_big(crossing: Crossing) -> list[bytes]:
        if len(crossing.packet) <= narrow:
            return [crossing.packet]
        told.append(crossing.packet)
        error = too_big_error(crossing.packet, narrow)
        world.clock.after(0.01, lambda: world.link.deliver("server", error))
        return []

    world.link.filters.append(too_big)
    send(world, client, server, 200 * SEGMENT)
    assert 0 < len(told) < 60
    assert_never_changed(world)


def test_a_firewall_that_lets_no_segments_out_that_were_cut() -> None:
    """It looks at the socket: from then on the kernel cuts, also those of other connections."""
    world, client, server = connected(2, suite=cutting())
    send(world, client, server, 8 * SEGMENT)
    assert OVERHEAD not in {segment.payload_length for segment in sent_by(world)}
    world.client.daemon.handle_cut_off(world.link.log[-1].packet, world.clock.now)
    world.client.daemon.handle_cut_off(sent_by(world)[-1].packet, world.clock.now)
    world.link.log.clear()
    send(world, client, server, 8 * SEGMENT)
    assert OVERHEAD in {segment.payload_length for segment in sent_by(world)}
    world.close(client, server)


def test_a_host_that_paces_by_socket() -> None:
    suite = replace(ENO, eno=EnoConfig(cutting=Cutting(lambda: False)))
    world, client, server = connected(2, suite=suite)
    send(world, client, server, 8 * SEGMENT)
    assert OVERHEAD in {segment.payload_length for segment in sent_by(world)}


def test_an_engine_with_much_to_do_lets_the_kernel_cut() -> None:
    world, client, server = connected(2, suite=cutting(together=4))
    send(world, client, server, 40 * SEGMENT)
    assert sum(segment.payload_length == OVERHEAD for segment in sent_by(world)) >= 4
    send(world, client, server, 2 * SEGMENT)
    world.link.log.clear()
    for _ in range(4):
        send(world, client, server, 2 * SEGMENT)
    assert OVERHEAD not in {segment.payload_length for segment in sent_by(world)}
