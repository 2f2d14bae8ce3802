"""Keys are replaced although the original daemon neither begins nor announces it, and aborts when told twice."""

from collections import defaultdict
from dataclasses import replace
from random import Random

import pytest

from tcpcryptd.crypto.suites import AES128_CTR_SEQIV_HMAC_SHA1
from tcpcryptd.wire.sequence import MASK, extend
from tests.machine.endpoint import Behaviour, Socket
from tests.machine.link import CRYPT, MAC, Conditions, Crossing, drop, drop_nth, repeat
from tests.machine.original import Original
from tests.machine.original_state import Connection
from tests.machine.test_rekeying import Spy
from tests.machine.world import EACH_SIDE, FROM_ORIGINAL, LIMIT, PORT, TO_ORIGINAL, Suite, World, text

OFTEN = 70_000
"""Bytes under one key, in the place of 2^23."""
ROLES = pytest.mark.parametrize("suite", [FROM_ORIGINAL, TO_ORIGINAL], ids=["from", "to"])
WAYS = pytest.mark.parametrize(("up", "down"), [(1, 0), (0, 1), (1, 1)], ids=["up", "down", "both"])
MEGABYTE = 1_000_000


def says_rekey(crossing: Crossing) -> bool:
    return crossing.segment.option(CRYPT) is not None and crossing.segment.option(MAC) is not None


class Pair:
    """A connection between our daemon, which replaces keys often, and the original."""

    def __init__(
        self,
        suite: Suite,
        *,
        seed: int = 1,
        conditions: Conditions | None = None,
        behaviour: Behaviour | None = None,
        isn: int | None = None,
        server_isn: int | None = None,
        rekey_bytes: int = OFTEN,
    ) -> None:
        self.rekey_bytes = rekey_bytes
        self.spy = Spy(AES128_CTR_SEQIV_HMAC_SHA1, rekey_bytes)
        self.world = World.encrypting(
            replace(suite, symmetric=self.spy.suite.symmetric), seed=seed, conditions=conditions
        )
        self.world.server.stack.listen(PORT, behaviour)
        if server_isn is not None:
            self.world.server.stack.random.randrange = lambda *_: server_isn  # type: ignore[method-assign]
        self.client = self.world.open(behaviour=behaviour, isn=isn)
        assert self.world.clock.run_until(lambda: bool(self.world.server.stack.accepted), LIMIT)
        self.server = self.world.server.stack.accepted[0]
        self.ours_is_client = suite.original == "server"

    @property
    def ours(self) -> Socket:
        return self.client if self.ours_is_client else self.server

    def transfer(self, up: int, down: int, limit: float = 300.0) -> None:
        """`up` bytes from the client and `down` from the server, at once."""
        got_up, got_down = len(self.server.received), len(self.client.received)
        self.client.write(text(up))
        self.server.write(text(down))

        def done() -> bool:
            received = len(self.server.received) - got_up >= up and len(self.client.received) - got_down >= down
            return received and self.client.all_acknowledged and self.server.all_acknowledged

        assert self.world.clock.run_until(done, limit), self.world.trace()
        assert self.server.received[got_up:] == text(up)
        assert self.client.received[got_down:] == text(down)

    def rekey(self) -> None:
        ends = self.world.ends(self.client)
        assert self.world.ours.rekey(*(ends if self.ours_is_client else ends[::-1]))

    @property
    def generations(self) -> tuple[int, int]:
        """Ours and the original's."""
        (info,) = self.world.ours.connections()
        (theirs,) = self.world.original.connections()
        return info.generation, theirs.generation

    def assert_sound(self) -> None:
        """No key has seen more than its keystream lasts, at either end, and the original lives."""
        self.world.assert_nothing_in_clear()
        assert not self.world.original.aborted
        self.spy.assert_no_byte_sealed_twice()
        sealed: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
        for key, segments in self.spy.sealed.items():
            sealed[key] = [(sequence, length) for sequence, length, _ in segments]
        for key, sequence, length in self.world.original.sealed:
            sealed[key].append((sequence, length))
        for segments_of_key in sealed.values():
            numbers = [(extend(sequence, segments_of_key[0][0]), length) for sequence, length in segments_of_key]
            span = max(start + length for start, length in numbers) - min(start for start, _ in numbers)
            assert span <= 2 * self.rekey_bytes

    def announced(self) -> list[Crossing]:
        return [each for each in self.world.link.log if says_rekey(each)]


@ROLES
@WAYS
@pytest.mark.parametrize("timestamps", [False, True], ids=["bare", "timestamps"])
def test_a_transfer(suite: Suite, up: int, down: int, timestamps: bool) -> None:
    pair = Pair(suite, behaviour=Behaviour(timestamps=timestamps))
    pair.transfer(up * MEGABYTE, down * MEGABYTE)
    pair.assert_sound()
    pair.world.assert_healthy()
    assert pair.generations[0] == pair.generations[1] >= 6
    # Once for each change, but for a second time on the first data behind an acknowledgment.
    changes = defaultdict(list)
    for each in pair.announced():
        changes[each.segment.option(CRYPT)].append(each.segment.payload_length)
    assert len(changes) == pair.generations[0]
    assert all(len(lengths) == 1 or (lengths[0] == 0 and len(lengths) == 2) for lengths in changes.values())
    pair.world.close(pair.client, pair.server)


@ROLES
@WAYS
def test_a_bad_path(suite: Suite, up: int, down: int) -> None:
    for seed in range(4):
        random = Random(seed)
        conditions = Conditions(
            loss=random.uniform(0, 0.04), duplication=0.05, reordering=0.1, delay=random.choice((0.001, 0.02, 0.08))
        )
        # The handshake of the original does not stand everything.
        pair = Pair(suite, seed=seed, rekey_bytes=60_000)
        pair.world.clock.run_for(1)
        pair.world.link.conditions = conditions
        pair.transfer(up * 250_000, down * 250_000)
        pair.assert_sound()
        assert pair.generations[0] >= 2


@ROLES
@WAYS
def test_that_segment_comes_twice_late_and_again(suite: Suite, up: int, down: int) -> None:
    pair = Pair(suite)
    deliver = pair.world.link.deliver

    def echo(crossing: Crossing) -> list[bytes]:
        if says_rekey(crossing):
            for delay in (0.0, 0.001, 0.015, 0.03):
                pair.world.clock.after(delay, lambda: deliver(crossing.sender, crossing.packet))
        return [crossing.packet]

    pair.world.link.filters += [repeat(says_rekey), echo]
    pair.transfer(up * MEGABYTE // 2, down * MEGABYTE // 2)
    pair.assert_sound()
    assert pair.generations[0] >= 3


@ROLES
@WAYS
@pytest.mark.parametrize("lost", [(1,), (2,), (1, 2, 3, 4)])
def test_that_segment_is_lost(suite: Suite, up: int, down: int, lost: tuple[int, ...]) -> None:
    pair = Pair(suite)
    pair.world.link.filters.append(drop_nth(says_rekey, *lost))
    pair.transfer(up * 500_000, down * 500_000)
    pair.assert_sound()
    assert pair.generations[0] >= 2


@ROLES
@pytest.mark.parametrize("before", [400, 60_000, 110_000, 150_000])
@EACH_SIDE
def test_across_a_wrap(suite: Suite, before: int, side: str) -> None:
    """The original compares sequence numbers as if they did not wrap."""
    isn = 2**32 - before
    pair = Pair(suite, isn=isn if side == "client" else None, server_isn=isn if side == "server" else None)
    pair.transfer(500_000, 500_000)
    pair.assert_sound()
    assert pair.generations[0] >= 2


@ROLES
def test_by_request_and_in_time(suite: Suite) -> None:
    pair = Pair(suite, rekey_bytes=2**23)
    pair.transfer(3000, 3000)
    pair.rekey()
    for _ in range(3):
        pair.transfer(3000, 1000)
    assert pair.generations == (1, 1)
    for hours in range(1, 4):
        pair.world.clock.run_for(3700)
        for _ in range(3):
            pair.transfer(1000, 3000)
        assert pair.generations == (1 + hours, 1 + hours)
    pair.rekey()
    pair.transfer(0, 300_000)
    pair.rekey()
    pair.transfer(300_000, 0)
    assert pair.generations[0] == pair.generations[1] >= 5
    pair.assert_sound()
    pair.world.assert_healthy()


@ROLES
def test_in_time_while_one_side_has_closed(suite: Suite) -> None:
    pair = Pair(suite, rekey_bytes=2**23)
    pair.transfer(3000, 0)
    pair.client.shut_down()
    assert pair.world.clock.run_until(lambda: pair.server.peer_finished, LIMIT)
    pair.world.clock.run_for(3700)
    pair.transfer(0, 200_000)
    pair.assert_sound()


@ROLES
def test_a_path_that_is_down_while_keys_are_replaced(suite: Suite) -> None:
    pair = Pair(suite)
    pair.transfer(50_000, 50_000)
    pair.rekey()
    down = drop(lambda crossing: crossing.segment.payload_length > 0)
    pair.world.link.filters.append(down)
    pair.client.write(text(5000))
    pair.server.write(text(5000))
    pair.world.clock.run_for(90)
    pair.world.link.filters.remove(down)
    assert pair.world.clock.run_until(lambda: pair.client.all_acknowledged and pair.server.all_acknowledged, LIMIT)
    pair.transfer(MEGABYTE, MEGABYTE)
    pair.assert_sound()


@ROLES
@WAYS
def test_whole_packets(suite: Suite, up: int, down: int) -> None:
    behaviour = Behaviour(segments_in_packet=6, mss=1440)
    pair = Pair(replace(suite, whole_packets=True), behaviour=behaviour)
    pair.transfer(up * MEGABYTE // 2, down * MEGABYTE // 2)
    pair.assert_sound()
    assert pair.generations[0] >= 3


@pytest.mark.parametrize(("suite", "up"), [(FROM_ORIGINAL, 1), (TO_ORIGINAL, 0)], ids=["from", "to"])
def test_no_window_reaches_beyond_what_a_key_bears(suite: Suite, up: int) -> None:
    pair = Pair(suite, rekey_bytes=40_000, behaviour=Behaviour(window=60_000))
    ours = "client" if pair.ours_is_client else "server"
    pair.world.link.log.clear()
    pair.transfer(up * MEGABYTE // 2, (1 - up) * MEGABYTE // 2)
    pair.assert_sound()
    answers = [each.segment for each in pair.world.link.log if each.sender == ours]
    first = answers[0].acknowledgment
    before = [each for each in answers if 25_000 < each.acknowledgment - first & MASK < 50_000]
    assert before
    assert all((each.acknowledgment - first & MASK) + each.window < 80_000 for each in before)


class Stubborn(Original):
    """Opens with the new keys, and never seals with them."""

    def _after_rekeying(self, c: Connection, segment: object, rekey: bytes | None) -> None:
        pass


@ROLES
@WAYS
def test_keys_that_cannot_be_replaced_end_the_connection(suite: Suite, up: int, down: int) -> None:
    """Neither side's keystream is used twice, and both ends learn of it."""
    pair = Pair(suite)
    pair.world.original.__class__ = Stubborn
    pair.client.write(text(up * MEGABYTE))
    pair.server.write(text(down * MEGABYTE))
    over = lambda: (pair.client.error, pair.server.error) == ("reset", "reset")  # noqa: E731
    assert pair.world.clock.run_until(over, 600), pair.world.trace()
    assert pair.world.ours.counters()["keys_not_replaced"] == 1
    pair.assert_sound()


def test_of_two_of_ours_the_sender_begins() -> None:
    """It knows what is in flight; the receiver would wait until its window is full, which Linux leaves to time."""
    spy = Spy(AES128_CTR_SEQIV_HMAC_SHA1, OFTEN)
    world = World.encrypting(spy.suite)
    world.server.stack.listen(PORT, Behaviour(window=20_000))
    client, server = world.connect()
    client.write(text(2 * MEGABYTE))
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
    assert len(server.received) == 2 * MEGABYTE
    announced = [each for each in world.link.log if says_rekey(each)]
    assert len(announced) >= 20
    assert {each.sender for each in announced} == {"client"}
    spy.assert_no_byte_sealed_twice()
