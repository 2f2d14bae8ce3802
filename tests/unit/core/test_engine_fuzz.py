"""`handle_packet` always gives a verdict and meets no exception of its own, whatever comes in whatever state."""

from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpcryptd.core.engine import Engine
from tcpcryptd.core.verdict import Action, ConnectionClass, Direction, WholeVerdict
from tcpcryptd.wire.options import pad
from tcpcryptd.wire.segment import MalformedPacket, Segment, adjacent_packets, locate
from tests.machine.link import Crossing, view
from tests.machine.world import World, make_engine, text

STAGES = range(10)
"""After so many packets on the wire something else comes."""
DIRECTIONS = st.sampled_from(list(Direction))
CLASSES = st.sampled_from(list(ConnectionClass))


def check(engine: Engine, verdict: WholeVerdict) -> None:
    """A verdict is well formed, and so is all that the engine wants sent."""
    action, packet, connection_class = verdict
    assert (packet is not None) == (action in (Action.MODIFY, Action.SPLIT))
    assert connection_class in ConnectionClass
    sent = [injected for _, injected, _ in engine.packets_to_inject()]
    if packet is not None:
        sent += adjacent_packets(packet) if action is Action.SPLIT else [packet]
    for whole in sent:
        assert view(whole).checksum_is_right
    assert engine.counters().get("internal_errors", 0) == 0, engine.next_event()
    # What is taken for a lack of memory could be a bug of compiled code.
    assert engine.counters().get("memory_shortages", 0) == 0


@cache
def recorded() -> list[Crossing]:
    world = World.encrypting()
    talk(world)
    return world.link.log


def talk(world: World) -> None:
    client, server = world.connect()
    world.exchange(client, server, 3000)
    world.close(client, server)


def in_stage(stage: int, side: str) -> tuple[World, Engine]:
    """A world that stands still after `stage` packets; the same each time but for the keys."""
    world = World.encrypting()
    client = world.open()
    client.write(text(3000))
    world.clock.run_until(lambda: len(world.link.log) > stage, 10)
    engine = (world.client if side == "client" else world.server).engine
    assert engine is not None
    return world, engine


@given(st.binary(max_size=200), DIRECTIONS, CLASSES)
def test_arbitrary_bytes(data: bytes, direction: Direction, diverted_as: ConnectionClass) -> None:
    engine = make_engine()
    check(engine, engine.handle_packet(data, direction, 0.0, diverted_as))


def mutations(packet: bytes) -> st.SearchStrategy[bytes]:
    """The packet with other fields, options or payload, with right checksums; and cut or with changed bytes."""
    segment = view(packet)
    options = st.binary(max_size=36).map(pad) | st.lists(
        st.sampled_from(
            [
                b"\x45\x02",
                b"\x45\x03\x06",
                b"\x45\x03\x07",
                b"\x45\x03\x04",
                b"\x45\x07\x41\x05\x02\x04\x04",
                b"\x45\x08\x83\x01\x00\x00\x00\x00",
                b"\x45\x0c\x84" + bytes(9),
                b"\x46\x12" + bytes(16),
                b"\x46\x16" + bytes(20),
                b"\x46\x02",
                b"\x02\x04\x05\xb4",
                b"\x02\x03\x05",
                b"\x08\x0a" + bytes(8),
                b"\x08\x03\x01",
                b"\x03\x03\x0e",
                b"\x13\x02",
                b"\x04\x02",
                b"\x01",
                b"\x00",
                b"\xff\x00",
            ]
        ),
        max_size=4,
    ).map(lambda parts: pad(b"".join(parts))[:40])
    fields = st.fixed_dictionaries(
        {},
        optional={
            "flags": st.integers(0, 255),
            "sequence": st.integers(-2000, 2000).map(lambda by: (segment.sequence + by) % 2**32),
            "acknowledgment": st.integers(-2000, 2000).map(lambda by: (segment.acknowledgment + by) % 2**32),
            "window": st.integers(0, 0xFFFF),
            "urgent": st.integers(0, 0xFFFF),
            "option_area": options,
            "payload": st.binary(max_size=400) | st.just(b""),
        },
    )
    edited = fields.map(
        lambda changes: segment.edited(**changes)  # type: ignore[arg-type]
    )
    cut = st.integers(0, len(packet)).map(lambda length: packet[:length])
    flipped = st.lists(st.tuples(st.integers(0, min(len(packet), 120) - 1), st.integers(0, 255)), max_size=4).map(
        lambda changes: _changed(packet, changes)
    )
    return edited | edited | edited | cut | flipped


def _changed(packet: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(packet)
    for position, value in changes:
        changed[position] = value
    return bytes(changed)


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("stage", STAGES)
@settings(max_examples=max(settings().max_examples // 3, 1))
@given(st.data())
def test_mutated_packets(stage: int, side: str, data: st.DataObject) -> None:
    world, engine = in_stage(stage, side)
    for _ in range(6):
        crossing = data.draw(st.sampled_from(world.link.log))
        packet = data.draw(mutations(crossing.packet))
        direction = Direction.OUT if crossing.sender == side else Direction.IN
        diverted_as = data.draw(CLASSES)
        check(engine, engine.handle_packet(packet, direction, world.clock.now, diverted_as))
    engine.handle_timeout(world.clock.now + 1)
    engine.shut_down(world.clock.now + 1)
    check(engine, (Action.DROP, None, ConnectionClass.UNDECIDED))


def truncations(packet: bytes) -> Iterator[bytes]:
    yield from (packet[:length] for length in range(len(packet)))


@pytest.mark.parametrize("side", ["client", "server"])
def test_every_truncation_of_a_handshake(side: str) -> None:
    for stage in range(5):
        world, engine = in_stage(stage, side)
        for crossing in recorded()[:8]:
            direction = Direction.OUT if crossing.sender == side else Direction.IN
            for packet in truncations(crossing.packet[:400]):
                check(engine, engine.handle_packet(packet, direction, world.clock.now))


@given(st.data())
def test_an_encrypted_connection_never_lets_a_changed_segment_in(data: st.DataObject) -> None:
    world, engine = in_stage(8, "server")
    sealed = [crossing for crossing in world.link.log if crossing.sender == "client" and crossing.segment.option(70)]
    crossing = data.draw(st.sampled_from(sealed))
    packet = data.draw(mutations(crossing.packet))
    try:
        segment = Segment(packet, locate(packet)[0])
    except MalformedPacket:
        return
    action, delivered, _ = engine.handle_packet(packet, Direction.IN, world.clock.now, ConnectionClass.ENCRYPTED)
    original = crossing.segment
    unchanged = (segment.sequence, segment.flags, segment.payload) == (
        original.sequence,
        original.flags,
        original.payload,
    )
    if action is not Action.DROP and not unchanged:
        shown = view(packet if delivered is None else delivered)
        assert shown.payload == b""
