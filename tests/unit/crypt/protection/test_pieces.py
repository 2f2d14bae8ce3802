"""A packet that the kernel left to be cut becomes what its segments would have become, byte for byte."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.core.verdict import Action, ConnectionClass, Direction
from tcpcryptd.crypt.constants import MAC
from tcpcryptd.crypt.protection.numbers import Numbers
from tcpcryptd.crypt.protection.protection import Protection
from tcpcryptd.crypt.protection.session import Resumable, Session
from tcpcryptd.crypt.roles import Role
from tcpcryptd.crypto.suites import SYMMETRIC_SUITES, SymmetricSuite
from tcpcryptd.wire.checksum import ones_complement_sum
from tcpcryptd.wire.segment import ACK, CWR, ECE, FIN, PSH, URG, Segment, lengths, locate, make
from tcpcryptd.wire.sequence import add

KEYS = {4: bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81)), 6: bytes(range(32)) + bytes((0, 80, 0, 81))}
TIMESTAMP = bytes.fromhex("0101080a0000000100000002")
MAX_SEGMENT = 1460
ISN = 2**32 - 30_000
"""So that numbers wrap within the packet."""
SUITES = pytest.mark.parametrize("suite", SYMMETRIC_SUITES, ids=lambda suite: suite.name)
VERSIONS = pytest.mark.parametrize("version", [4, 6])


class FakeConnection:
    """What the core lends a protocol, as far as an open connection uses it."""

    def __init__(self, key: bytes, path_mtu: int | None) -> None:
        self.key = key
        self.options = ConnectionOptions()
        self.last_seen = 0.0
        self.counts: Counter[str] = Counter()
        self.closing: list[int] = []
        self._path_mtu = path_mtu

    def count(self, name: str) -> None:
        self.counts[name] += 1

    def path_mtu(self) -> int | None:
        return self._path_mtu

    def saw_closing(self, flags: int, _direction: Direction, _now: float) -> None:
        self.closing.append(flags)

    def set_timer(self, when: float, callback: Callable[[float], None]) -> None: ...


class Sender:
    """The outgoing direction of a connection; two of them with the same arguments seal alike."""

    def __init__(
        self, suite: SymmetricSuite, version: int, connection_class: ConnectionClass, path_mtu: int | None = None
    ) -> None:
        self.connection = FakeConnection(KEYS[version], path_mtu)
        session, _ = Session.begin(Resumable(bytes(20), Role.CLIENT, suite, "none"))
        numbers = Numbers(100, 200, add(ISN, 100), 5000)
        self.protection = Protection(
            self.connection,  # type: ignore[arg-type]
            session,
            numbers,
            MAX_SEGMENT,
            connection_class,
            peer_aware=False,
        )

    def send(self, packet: bytes) -> list[bytes]:
        """The packets that go out in the place of one."""
        action, changed, connection_class = self.protection.outbound(packet, locate(packet)[0], 0.0)
        if action is Action.DROP:
            return []
        assert isinstance(changed, bytes)
        assert connection_class is self.protection.flow.connection_class
        if action is Action.MODIFY:
            return [changed]
        assert action is Action.SPLIT
        return split(changed)


def split(packets: bytes) -> list[bytes]:
    found, position = [], 0
    for length in lengths(packets):
        found.append(packets[position : position + length])
        position += length
    return found


def identify(packet: bytearray, identification: int) -> None:
    packet[4:6] = identification.to_bytes(2, "big")
    packet[10:12] = bytes(2)
    packet[10:12] = (ones_complement_sum(packet[:20]) ^ 0xFFFF).to_bytes(2, "big")


def whole_packet(
    version: int, size: int, *, area: bytes = TIMESTAMP, flags: int = ACK, at: int = 0, identification: int = 0xFFFE
) -> bytes:
    """As the kernel hands it over: with an identification, which IPv4 alone has."""
    packet = bytearray(
        make(
            KEYS[version],
            sequence=add(ISN, at),
            acknowledgment=4000,
            flags=flags,
            window=77,
            option_area=area,
            payload=bytes(index * 7 & 0xFF for index in range(at, at + size)),
        )
    )
    if version == 4:
        identify(packet, identification)
    return bytes(packet)


def kernel_segments(packet: bytes, size: int) -> list[bytes]:
    """What the kernel would cut it into (Linux, `tcp_gso_segment` and `inet_gso_segment`)."""
    segment = Segment(packet, locate(packet)[0])
    starts = range(0, segment.payload_length, size)
    segments = []
    for index, start in enumerate(starts):
        flags = segment.flags
        if start:
            flags &= ~CWR
        if start != starts[-1]:
            flags &= ~(FIN | PSH)
        payload = segment.payload[start : start + size]
        piece = bytearray(segment.edited(sequence=add(segment.sequence, start), flags=flags, payload=payload))
        if packet[0] >> 4 == 4:
            before = int.from_bytes(packet[4:6], "big")
            identify(piece, before + index & 0xFFFF)
        segments.append(bytes(piece))
    return segments


def pair(suite: SymmetricSuite, version: int) -> tuple[Sender, Sender]:
    """One that gets whole packets, and one that gets segments."""
    return Sender(suite, version, ConnectionClass.STREAM), Sender(suite, version, ConnectionClass.ENCRYPTED)


@VERSIONS
@SUITES
@pytest.mark.parametrize("area", [TIMESTAMP, b""], ids=["timestamps", "bare"])
@pytest.mark.parametrize("size", [1389, 1401, 2 * 1388, 2 * 1400, 5000, 5001, 20_003, 61_000])
def test_as_if_the_kernel_had_cut_it(suite: SymmetricSuite, version: int, area: bytes, size: int) -> None:
    whole, single = pair(suite, version)
    packet = whole_packet(version, size, area=area, flags=ACK | PSH | FIN | CWR | ECE)
    pieces = whole.send(packet)
    expected = [single.send(each) for each in kernel_segments(packet, MAX_SEGMENT - 60 - len(area))]
    assert [pieces] == [[each for sent in expected for each in sent]]
    assert len(pieces) > 1 or size == 1389
    assert all(Segment(each, locate(each)[0]).checksum_is_right for each in pieces)
    assert whole.connection.closing == [ACK | PSH | FIN | CWR | ECE]
    assert whole.protection.describe() == single.protection.describe()


@VERSIONS
@SUITES
@pytest.mark.parametrize("worn_after", [1, 1000, 3000, 4164, 4165, 60_000])
def test_new_keys_begin_between_two_pieces(suite: SymmetricSuite, version: int, worn_after: int) -> None:
    """Whatever byte the old keys wear out with: what follows announces the new ones."""
    often = replace(suite, rekey_bytes=worn_after)
    whole, single = pair(often, version)
    packet = whole_packet(version, 30_000)
    pieces = whole.send(packet)
    expected = [each for part in kernel_segments(packet, 1388) for each in single.send(part)]
    if worn_after * 3 // 2 >= 1388:
        assert pieces == expected
    else:
        # The keys cannot bear one segment. Nothing of the packet goes out, and the kernel sends it again.
        assert pieces == []
    if not suite.quiet_rekeying:
        assert whole.connection.counts["rekeyed"] == 1 or worn_after == 60_000
    assert whole.protection.flow.send_started == single.protection.flow.send_started or not pieces


@SUITES
def test_old_keys_for_what_lies_before_the_new_ones(suite: SymmetricSuite) -> None:
    whole, single = pair(suite, 4)
    for sender in (whole, single):
        for part in kernel_segments(whole_packet(4, 10_000), 1388):
            sender.send(part)
        sender.protection.flow.acknowledged = sender.protection.flow.send_next
        sender.protection.rekey()
    border = 10_000
    packet = whole_packet(4, 4 * 1388, at=border - 2 * 1388)
    assert whole.send(packet) == [each for part in kernel_segments(packet, 1388) for each in single.send(part)]


@SUITES
def test_keys_that_have_borne_all_they_can(suite: SymmetricSuite) -> None:
    """What they still can bear goes out; the kernel sends the rest again when new keys can begin."""
    whole, _ = pair(replace(suite, rekey_bytes=10_000), 4)
    # The last change of keys is not over: nothing has been acknowledged since.
    whole.protection.rekey()
    packet = whole_packet(4, 30_000)
    pieces = whole.send(packet)
    assert len(pieces) == 15_000 // 1388
    assert whole.connection.counts["keys_spent"] == 1
    assert whole.send(whole_packet(4, 30_000, at=1388 * len(pieces))) == []


@VERSIONS
def test_urgent_data(version: int) -> None:
    """The pointer counts from each piece's own start, and the flag ends with the data that it points behind."""
    whole, _ = pair(SYMMETRIC_SUITES[0], version)
    packet = whole_packet(version, 5000)
    packet = Segment(packet, locate(packet)[0]).edited(flags=ACK | URG, urgent=2000)
    segments = [Segment(each, locate(each)[0]) for each in whole.send(packet)]
    assert [(bool(each.flags & URG), each.urgent) for each in segments] == [
        (True, 2000),
        (True, 2000 - 1388),
        (False, 0),
        (False, 0),
    ]


def test_the_path_is_looked_up_before_the_first_packet() -> None:
    whole = Sender(SYMMETRIC_SUITES[0], 4, ConnectionClass.STREAM, path_mtu=1400)
    assert max(map(len, whole.send(whole_packet(4, 20_000)))) <= 1400


def test_a_single_large_segment_is_sent_apart_too() -> None:
    """The kernel could have left it to be cut, after the verdict, into two with the same MAC."""
    whole, single = pair(SYMMETRIC_SUITES[0], 4)
    packet = whole_packet(4, 1388)
    offset = locate(packet)[0]
    action, changed, _ = whole.protection.outbound(packet, offset, 0.0)
    assert action is Action.SPLIT
    assert single.protection.outbound(packet, offset, 0.0) == (Action.MODIFY, changed, ConnectionClass.ENCRYPTED)


def test_small_segments_keep_their_place_in_the_kernel() -> None:
    whole, _ = pair(SYMMETRIC_SUITES[0], 4)
    packet = whole_packet(4, 500)
    action, changed, connection_class = whole.protection.outbound(packet, locate(packet)[0], 0.0)
    assert (action, connection_class) == (Action.MODIFY, ConnectionClass.STREAM)
    assert isinstance(changed, bytes)
    assert Segment(changed, locate(changed)[0]).option(MAC) is not None
