"""Merged segments against the rules that GRO has, on whatever a peer can send."""

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.core.verdict import ConnectionClass, Gathered
from tcpcryptd.netio.kernel.nfqueue import DivertedPacket
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets.merging import Merger
from tcpcryptd.netio.packets.passage import Passage
from tcpcryptd.netio.packets.verdicts import NF_ACCEPT, NF_DROP, NF_REPEAT
from tcpcryptd.wire.run import find_data
from tcpcryptd.wire.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment, locate, make
from tcpcryptd.wire.sequence import add, difference
from tcpcryptd.wire.syn import MAX_PACKET
from tests.machine.stack import checksums_are_right

MARKS = MarkScheme()
ENCRYPTED = ConnectionClass.ENCRYPTED
REPEATED = MARKS.of_verdicts(ENCRYPTED, forwarded=False)[ENCRYPTED]
MARK, OTHER = 5, 6
KEYS = (
    bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81)),
    bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 82)),
    bytes(15) + b"\x01" + bytes(15) + b"\x02" + b"\0\x50\0\x51",
)
STAMP = b"\x01\x01\x08\x0a"


@dataclass
class Sent:
    """What the kernel is told."""

    dropped: list[int] = field(default_factory=list)
    passed: list[tuple[int, bytes | None]] = field(default_factory=list)
    errors: int = 0

    def drop_up_to(self, packet_id: int) -> None:
        decided = {number for number, _ in self.passed} | set(self.dropped)
        self.dropped += [number for number in range(packet_id + 1) if number not in decided]

    def add(
        self, packet_id: int, verdict: int, payload: bytes | None = None, mark: int | None = None, tracking: bytes = b""
    ) -> None:
        assert tracking == b""
        if verdict == NF_DROP:
            assert payload is None
            self.dropped.append(packet_id)
        else:
            assert (verdict, mark) in ((NF_REPEAT, REPEATED | MARK), (NF_REPEAT, REPEATED | OTHER), (NF_ACCEPT, None))
            self.passed.append((packet_id, payload))


class Rig:
    """A merger, and what becomes of packets that it is given; by rules of iptables, or of nft."""

    def __init__(self, nft: bool = False, *, holds: bool = False) -> None:
        self.sent = Sent()
        self._mark = MARKS.diverted if nft else 0
        passage = Passage(self.sent, MARKS, ENCRYPTED)  # type: ignore[arg-type]
        self.merger = Merger(passage, self.sent, lambda: holds)  # type: ignore[arg-type]

    def add(self, number: int, packet: bytes | Gathered | None, mark: int = MARK) -> None:
        diverted = DivertedPacket(number, 0, self._mark | mark, 5, b"", b"")
        self.merger.add(diverted, ENCRYPTED, mark, packet)


def merged(packets: list[bytes], marks: list[int] | None = None, *, nft: bool = False) -> Sent:
    rig = Rig(nft)
    sent, merger = rig.sent, rig.merger
    for number, packet in enumerate(packets):
        rig.add(number, packet, MARK if marks is None else marks[number])
    merger.flush()
    assert sorted(sent.dropped + [number for number, _ in sent.passed]) == list(range(len(packets)))
    assert merger.merged == len(sent.dropped)
    return sent


def view(packet: bytes | None) -> Segment:
    assert packet is not None
    return Segment(packet, locate(packet)[0])


def segment(
    at: int = 0,
    size: int = 100,
    *,
    key: bytes = KEYS[0],
    flags: int = ACK,
    acknowledgment: int = 7,
    window: int = 9,
    stamp: int | None = 3,
    traffic_class: int = 0,
    hops: int = 64,
    fragment: int | None = None,
    reserved: int = 0,
) -> bytes:
    """With the bytes of the stream from `at` on, in which each stands for its place."""
    area = b"" if stamp is None else STAMP + stamp.to_bytes(4, "big") + bytes(4)
    payload = bytes((at + i) * 7 & 0xFF for i in range(size))
    packet = make(
        key,
        sequence=at & 0xFFFFFFFF,
        acknowledgment=acknowledgment & 0xFFFFFFFF,
        flags=flags,
        window=window,
        option_area=area,
        payload=payload,
    )
    edited = bytearray(packet)
    if packet[0] >> 4 == 4:
        edited[1], edited[8] = traffic_class, hops
        if fragment is not None:
            edited[6:8] = fragment.to_bytes(2, "big")
        edited[10:12] = bytes(2)
        total = sum(int.from_bytes(edited[i : i + 2], "big") for i in range(0, 20, 2))
        edited[10:12] = (total % 65535 ^ 0xFFFF).to_bytes(2, "big")
    else:
        edited[0], edited[1], edited[7] = 0x60 | traffic_class >> 4, (traffic_class & 15) << 4, hops
    packet = bytes(edited)
    return view(packet).edited(reserved=reserved) if reserved else packet


@pytest.mark.parametrize("key", KEYS, ids=["one", "other port", "IPv6"])
@pytest.mark.parametrize("stamped", [True, False])
def test_segments_that_continue_each_other_become_one(key: bytes, stamped: bool) -> None:
    sizes = [100, 1, 33, 1408]
    packets = [
        segment(
            sum(sizes[:i]), size, key=key, acknowledgment=i, window=50 + i, stamp=70 + i if stamped else None,
            flags=ACK | (PSH if i == 3 else 0),
        )
        for i, size in enumerate(sizes)
    ]  # fmt: skip
    sent = merged(packets)
    ((number, packet),) = sent.passed
    assert number == 3
    assert packet is not None
    assert checksums_are_right(packet, locate(packet)[0])
    whole = view(packet)
    assert whole.payload == b"".join(view(each).payload for each in packets)
    last = view(packets[-1])
    assert (whole.sequence, whole.acknowledgment, whole.window) == (0, 3, 53)
    assert (whole.flags, whole.option_area) == (last.flags, last.option_area)


@pytest.mark.parametrize(
    "second",
    [
        segment(101),
        segment(99),
        segment(100, 0),
        segment(0),
        segment(100, key=KEYS[1]),
        segment(100, flags=ACK | FIN),
        segment(100, flags=ACK | URG),
        segment(100, flags=ACK | RST),
        segment(100, flags=ACK | SYN),
        segment(100, flags=ACK | ECE),
        segment(100, flags=ACK | CWR),
        segment(100, flags=PSH),
        segment(100, reserved=1),
        segment(100, acknowledgment=6),
        segment(100, stamp=2),
        segment(100, stamp=None),
        segment(100, traffic_class=1),
        segment(100, traffic_class=3),
        segment(100, hops=63),
        segment(100, fragment=0),
        segment(100, fragment=0x2000),
        view(segment(100)).edited(option_area=b"\x01\x01\x05\x0a" + bytes(8)),
        view(segment(100)).edited(option_area=b"\x08\x0a\0\0\0\3\0\0\0\0\x01\x01"),
        view(segment(100)).edited(option_area=STAMP + bytes(8) + b"\x46\x12" + bytes(18)),
    ],
)
def test_nothing_else_is_merged(second: bytes) -> None:
    first = segment()
    assert merged([first, second]).passed == [(0, first), (1, second)]
    assert merged([second, first]).dropped == []


def test_a_push_ends_a_run() -> None:
    packets = [segment(0), segment(100, flags=ACK | PSH), segment(200), segment(300)]
    assert [number for number, _ in merged(packets).passed] == [1, 3]


def test_marks_of_congestion_and_of_rules_keep_packets_apart() -> None:
    packets = [segment(0, traffic_class=3), segment(100, traffic_class=3)]
    assert merged(packets).dropped == []
    assert merged([segment(0), segment(100)], marks=[MARK, OTHER]).dropped == []
    six = [segment(at, key=KEYS[2], traffic_class=3) for at in (0, 100)]
    assert merged(six).dropped == []


def test_no_packet_gets_longer_than_ip_allows() -> None:
    packets = [segment(1400 * i, 1400) for i in range(100)]
    passed = [view(packet) for _, packet in merged(packets).passed]
    assert sum(each.payload_length for each in passed) == 140_000
    assert max(len(each.packet) for each in passed) > 0xFFFF - 1400
    assert all(checksums_are_right(each.packet, 20) for each in passed)


def test_numbers_wrap() -> None:
    packets = [segment(2**32 - 150), segment(2**32 - 50, stamp=0), segment(50, acknowledgment=8)]
    sent = merged([replace_stamp(packets[0], 2**32 - 1), *packets[1:]])
    ((_, packet),) = sent.passed
    assert (view(packet).sequence, view(packet).payload_length) == (2**32 - 150, 300)


def replace_stamp(packet: bytes, value: int) -> bytes:
    return view(packet).edited(option_area=STAMP + value.to_bytes(4, "big") + bytes(4))


def test_other_packets_of_a_flow_keep_their_place_and_end_no_other_run() -> None:
    acknowledgment = segment(100, 0)
    packets = [segment(0), segment(0, key=KEYS[1]), acknowledgment, segment(100, key=KEYS[1]), segment(100)]
    sent = merged(packets)
    assert [number for number, _ in sent.passed] == [0, 2, 3, 4]
    with_options = b"\x46" + segment(200)[1:]
    assert [number for number, _ in merged([segment(0), with_options]).passed] == [0, 1]


def test_a_packet_as_it_came_follows_what_waits() -> None:
    rig = Rig()
    sent = rig.sent
    rig.add(0, segment(0))
    rig.add(1, None)
    assert [number for number, _ in sent.passed] == [0, 1]


@pytest.mark.parametrize("key", KEYS)
def test_a_packet_in_two_pieces_follows_its_flow_and_stays_as_it_is(key: bytes) -> None:
    packet = segment(100, 40_000, key=key)
    gathered = Gathered(packet[:-40_000], memoryview(packet)[-40_000:])
    other = next(each for each in KEYS if each != key)
    rig = Rig()
    rig.add(0, segment(0, key=key))
    rig.add(1, segment(0, key=other))
    rig.add(2, gathered)
    rig.add(3, segment(40_100, key=key))
    assert rig.sent.passed == [(0, segment(0, key=key)), (2, gathered)]
    rig.merger.flush()
    assert [number for number, _ in rig.sent.passed] == [0, 2, 1, 3]


def test_what_is_held_back_in_the_queue_is_not_dropped_with_the_rest() -> None:
    for holds in (True, False):
        rig = Rig(holds=holds)
        for number in (1, 2, 3):
            rig.add(number, segment(100 * number))
        rig.merger.flush()
        assert rig.sent.dropped == [1, 2] if holds else [0, 1, 2]


def test_without_memory_for_the_whole_the_peer_sends_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_run: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("tcpcryptd.wire.run.Run.packet", fail)
    rig = Rig()
    for number, packet in enumerate([segment(0), segment(100)]):
        rig.add(number, packet)
    rig.merger.flush()
    assert (sorted(rig.sent.dropped), rig.sent.passed) == ([0, 1], [])


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "flags": st.sampled_from([ACK | PSH, ACK | FIN, ACK | URG, ACK | ECE, ACK | CWR, RST | ACK, ACK | SYN, PSH]),
        "stamp": st.none() | st.integers(0, 6),
        "acknowledgment": st.integers(0, 6),
        "window": st.integers(0, 6),
        "traffic_class": st.integers(0, 3),
        "hops": st.sampled_from([64, 63]),
        "reserved": st.integers(0, 1),
    },
)
PIECES = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 3, 99, 100, 1408]),
        st.sampled_from([0] * 8 + [-1408, -100, -1, 1, 1408]),
        st.sampled_from(KEYS),
        st.just({}) | CHANGES,
    ),
    min_size=1,
    max_size=30,
)


def delivered(packets: list[bytes], key: bytes) -> list[tuple[int, int]]:
    """The bytes of a flow in the order in which they come: places and values."""
    found = []
    for packet in packets:
        offset, flow = locate(packet)
        if flow == key:
            each = Segment(packet, offset)
            found += [(add(each.sequence, i), byte) for i, byte in enumerate(each.payload)]
    return found


@given(PIECES, st.integers(0, 1 << 32), st.booleans())
def test_whatever_is_merged_is_the_same_to_the_application(pieces: list, start: int, nft: bool) -> None:  # type: ignore[type-arg]
    at = dict.fromkeys(KEYS, start)
    packets = []
    for size, jump, key, changes in pieces:
        at[key] += jump
        packets.append(segment(at[key], size, key=key, **changes))
        at[key] += size
    sent = merged(packets, nft=nft)
    passed = [packet for _, packet in sent.passed if packet is not None]
    assert all(checksums_are_right(packet, locate(packet)[0]) and len(packet) <= 0xFFFF for packet in passed)
    for key in KEYS:
        assert delivered(passed, key) == delivered(packets, key)
        before = [number for number, packet in enumerate(packets) if locate(packet)[1] == key]
        after = [number for number, packet in sent.passed if locate(packet or b"")[1] == key]
        assert after == sorted(after)
        assert_runs_are_gros(packets, before, set(sent.dropped), {n: p for n, p in sent.passed if p})


def assert_runs_are_gros(packets: list[bytes], numbers: list[int], dropped: set[int], passed: dict[int, bytes]) -> None:
    """Each packet that went up stands for a run that tcp_gro_receive could have merged, or is as it came."""
    run: list[Segment] = []
    for number in numbers:
        run.append(view(packets[number]))
        if number in dropped:
            continue
        got, last = view(passed[number]), run[-1]
        if len(run) == 1:
            assert got.packet == packets[number]
        assert (got.sequence, got.acknowledgment, got.window) == (run[0].sequence, last.acknowledgment, last.window)
        assert (got.flags, got.option_area, got.end) == (last.flags, last.option_area, last.end)
        for each, following in pairwise(run):
            assert each.flags == ACK
            assert following.flags & ~PSH == ACK
            assert following.reserved == each.reserved == 0
            assert each.payload_length > 0 < following.payload_length
            assert following.sequence == each.end
            assert difference(following.acknowledgment, each.acknowledgment) >= 0
            assert len(following.option_area) == len(each.option_area) in (0, 12)
            assert following.option_area[4:8] >= each.option_area[4:8]
            assert following.packet[:2] == each.packet[:2]
            assert following.packet[1] & (3 if following.packet[0] >> 4 == 4 else 0x30) not in (3, 0x30)
        run = []
    assert run == []


def test_payload_is_found_in_whole_packets_only() -> None:
    packet = segment()
    assert find_data(packet) == 52
    for size in range(53):
        assert find_data(packet[:size]) == 0
    random = Random(1)
    for _ in range(2000):
        data = bytes((random.choice((0x45, 0x60)),)) + random.randbytes(random.randrange(90))
        start = find_data(data)
        assert start == 0 or 40 <= start < len(data)


class Short(bytes):
    """A packet whose payload there is no memory for."""

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice) and place.stop is None:
            raise MemoryError
        return super().__getitem__(place)


def test_a_segment_that_there_is_no_memory_for_leaves_a_hole_and_no_wrong_bytes() -> None:
    rig = Rig()
    first, second, third = (
        make(KEYS[0], sequence=1000 + 10 * number, acknowledgment=1, flags=ACK, window=9, payload=letter * 10)
        for number, letter in enumerate((b"A", b"B", b"C"))
    )
    rig.add(0, first)
    with pytest.raises(MemoryError):
        rig.add(1, Short(second))
    rig.add(2, third)
    rig.merger.flush()
    found = [Segment(packet, 20) for _, packet in rig.sent.passed if packet is not None]
    assert [(each.sequence, each.payload) for each in found] == [(1000, b"A" * 10), (1020, b"C" * 10)]


def test_all_runs_get_verdicts_when_memory_is_short_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    for number, key in enumerate(KEYS):
        rig.add(number, make(key, sequence=1, acknowledgment=1, flags=ACK, window=9, payload=b"x"))
    let, calls = Passage.let, list[int]()

    def let_or_fail(self: Passage, packet: DivertedPacket, *arguments: object) -> None:
        calls.append(packet.identifier)
        if len(calls) == 1:
            raise MemoryError
        let(self, packet, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Passage, "let", let_or_fail)
    rig.merger.flush()
    assert (rig.sent.dropped, [number for number, _ in rig.sent.passed]) == ([0], [1, 2])


@pytest.mark.parametrize("last", [MAX_PACKET, MAX_PACKET + 1])
def test_a_run_fits_the_message_of_a_verdict(last: int) -> None:
    first = last - 40 - 20_000
    payloads = [bytes(first - 20_000), bytes(20_000), bytes(20_000)]
    packets, sequence = [], 1
    for payload in payloads:
        packets.append(make(KEYS[0], sequence=sequence, acknowledgment=1, flags=ACK, window=9, payload=payload))
        sequence += len(payload)
    sizes = [len(packet or b"") for _, packet in merged(packets).passed]
    assert sizes == ([MAX_PACKET] if last == MAX_PACKET else [last - 20_000, 20_040])
