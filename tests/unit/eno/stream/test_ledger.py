"""The ledger's mappings, each compared with what travels with which byte."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.eno.stream.ledger import Ledger

WIRE_START = 50
Frame = tuple[int, int, int]
"""Length of the data, by how much the frame is longer, and behind how many bytes of data that stands; 0: all."""
FRAMES = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([20, 22]), st.integers(0, 4)), max_size=12)


class Model(NamedTuple):
    """Byte for byte."""

    ledger: Ledger
    sealed: bytes
    own: list[int]
    """The wire offset of each plain byte."""
    travels: list[set[int]]
    """All wire offsets that travel with each plain byte."""
    frame: dict[int, int]
    """Plain start of each frame with data, to where it begins on the wire."""
    frame_ends: set[tuple[int, int]]
    """Plain and wire ends of the frames with data."""
    trailing: set[int]
    """Wire offsets of the frames without data at the end."""


def build(frames: list[Frame], keep_plaintext: bool = False) -> Model:
    ledger = Ledger(0, WIRE_START)
    model = Model(ledger, b"", [], [], {}, set(), set())
    sealed = b""
    waiting: set[int] = set()
    for number, (length, overhead, chosen) in enumerate(frames):
        first = min(chosen, length)
        turn = first or length
        wire = WIRE_START + len(sealed)
        total = length + overhead
        own = [wire + at if at < turn else wire + at + overhead for at in range(length)]
        if length:
            model.frame[len(model.own)] = wire
            model.travels.extend({offset} for offset in own)
            model.travels[-length] |= waiting
            model.travels[turn - length - 1] |= set(range(wire + turn, wire + turn + overhead))
            model.own.extend(own)
            model.frame_ends.add((len(model.own), wire + total))
            waiting = set()
        else:
            waiting |= set(range(wire, wire + total))
        frame = bytes([number]) * total
        sealed += frame
        ledger.append(length, total, b"p" * length if keep_plaintext else frame, first)
    model.trailing.update(waiting)
    return model._replace(sealed=sealed)


@given(FRAMES)
def test_pieces_hold_what_travels_with_their_bytes(frames: list[Frame]) -> None:
    model = build(frames)
    ledger, count = model.ledger, len(model.own)
    assert (ledger.end, ledger.wire_end) == (count, WIRE_START + len(model.sealed))
    for start in range(count):
        for end in range(start + 1, count + 1):
            expected = set().union(*model.travels[start:end])
            first, last = ledger.begin(start), ledger.finish(end)
            assert set(range(first, last)) == expected
            assert bytes(ledger.sealed(first, last)) == model.sealed[first - WIRE_START : last - WIRE_START]
    assert set(range(ledger.begin(count), ledger.wire_end)) == model.trailing


@given(FRAMES)
def test_an_acknowledgment_on_the_wire_covers_only_whole_bytes(frames: list[Frame]) -> None:
    model = build(frames)
    ledger, before = model.ledger, 0
    for wire in range(WIRE_START - 3, ledger.wire_end + 3):
        plain = 0
        while plain < len(model.own) and max(model.travels[plain]) < wire:
            plain += 1
        assert ledger.to_plain(wire) == plain
        assert plain >= before
        before = plain


@given(FRAMES)
def test_an_acknowledgment_of_plaintext_covers_the_empty_frames_behind_it(frames: list[Frame]) -> None:
    model = build(frames)
    ledger = model.ledger
    wires = []
    for plain in range(len(model.own) + 3):
        expected = model.frame.get(plain, model.own[plain] if plain < len(model.own) else ledger.wire_end)
        wires.append(ledger.to_wire(plain))
        assert wires[-1] == expected
    assert wires == sorted(wires)
    assert ledger.to_wire(-1) == wires[0]


@given(FRAMES)
def test_the_mappings_are_inverse_at_frame_borders(frames: list[Frame]) -> None:
    model = build(frames)
    ledger = model.ledger
    for plain, wire in model.frame.items():
        assert ledger.to_plain(wire) == plain
        assert ledger.to_wire(plain) == wire
    for plain, wire in model.frame_ends:
        assert ledger.to_plain(wire) == plain
        assert ledger.to_wire(plain) >= wire
        assert ledger.to_plain(ledger.to_wire(plain)) == plain


@given(FRAMES.map(lambda frames: frames[:4]))
def test_a_selective_acknowledgment_covers_only_whole_bytes(frames: list[Frame]) -> None:
    model = build(frames)
    ledger = model.ledger
    for left in range(WIRE_START, ledger.wire_end, 3):
        for right in range(left + 1, ledger.wire_end + 1, 2):
            block = set(range(left, right))
            held = [plain for plain, travels in enumerate(model.travels) if travels <= block]
            assert list(range(ledger.held_from(left), ledger.to_plain(right))) == held


@given(FRAMES, st.data())
def test_what_is_dropped_leaves_the_rest_as_it_was(frames: list[Frame], data: st.DataObject) -> None:
    model, whole = build(frames), build(frames).ledger
    ledger, by_plain = model.ledger, build(frames).ledger
    wire = data.draw(st.integers(WIRE_START, ledger.wire_end))
    ledger.drop_wire(wire)
    assert ledger.wire <= wire or ledger.wire == WIRE_START
    assert ledger.start == whole.to_plain(ledger.wire)
    for kept in range(ledger.start, ledger.end):
        assert ledger.begin(kept) == whole.begin(kept)
        assert ledger.finish(kept + 1) == whole.finish(kept + 1)
        assert ledger.to_wire(kept) == whole.to_wire(kept)
    plain = data.draw(st.integers(0, by_plain.end))
    by_plain.drop_plain(plain)
    assert by_plain.start <= plain
    assert all(by_plain.to_wire(kept) == whole.to_wire(kept) for kept in range(plain, by_plain.end + 1))
    ledger.drop_wire(ledger.wire_end)
    assert (ledger.cost, ledger.start, ledger.wire) == (0, ledger.end, ledger.wire_end)


@given(FRAMES, st.data())
def test_kept_plaintext(frames: list[Frame], data: st.DataObject) -> None:
    model = build(frames, keep_plaintext=True)
    start = data.draw(st.integers(0, len(model.own)))
    end = data.draw(st.integers(start, len(model.own)))
    assert model.ledger.plaintext(start, end) == b"p" * (end - start)


def test_frames_without_data_cost_what_they_take() -> None:
    ledger = Ledger(0, 0)
    costs = []
    for length in (0, 0, 3, 0, 4):
        ledger.append(length, length + 20, b"")
        costs.append(ledger.cost)
    assert costs == sorted(set(costs))
