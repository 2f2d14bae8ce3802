"""Keys are replaced in time, in both directions, on any path (docs/crypt-option.md section 9)."""

import gc
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy
import pytest

from tcpcryptd.core.event import InternalError
from tcpcryptd.crypt.limits import OLD_KEYS_LIFETIME
from tcpcryptd.crypt.protection.session import Keys
from tcpcryptd.crypto.segment import SegmentProtection
from tcpcryptd.crypto.suites import (
    AES128_CTR_SEQIV_HMAC_SHA1,
    AES_256_GCM_SIV,
    AES_SIV_CMAC_256,
    RSA_2048,
    X25519_HPKE,
    SymmetricSuite,
)
from tests.machine.endpoint import Behaviour, Socket
from tests.machine.link import CRYPT, MAC, Conditions, Crossing, drop, drop_nth
from tests.machine.world import MARKER, PORT, Suite, World, text

OFTEN = 20_000
"""Bytes under one key, for tests that cannot wait for the real number."""
SUITES = [AES128_CTR_SEQIV_HMAC_SHA1, AES_256_GCM_SIV, AES_SIV_CMAC_256]


class Spy:
    """Notes what is sealed: key, sequence number and length of each payload."""

    def __init__(self, suite: SymmetricSuite, rekey_bytes: int | None = None) -> None:
        self.sealed: dict[bytes, list[tuple[int, int, bytes]]] = defaultdict(list)
        self._protection: Callable[[bytes, bytes], SegmentProtection] = suite.protection
        self.suite = Suite(
            (RSA_2048,) if suite is AES128_CTR_SEQIV_HMAC_SHA1 else (X25519_HPKE,),
            (replace(suite, protection=self._spied, rekey_bytes=rekey_bytes or suite.rekey_bytes),),
        )

    def _spied(self, encryption_key: bytes, mac_key: bytes) -> SegmentProtection:
        protection = self._protection(encryption_key, mac_key)
        sealed = self.sealed

        class Spied:
            open = staticmethod(protection.open)
            rest = staticmethod(protection.rest)

            @staticmethod
            def seal(
                sequence: int, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes
            ) -> tuple[bytes, bytes]:
                if payload:
                    sealed[encryption_key].append((sequence, len(payload), payload))
                return protection.seal(sequence, header, acknowledgment, options, payload)

        return Spied()

    def assert_no_byte_sealed_twice(self) -> None:
        """One sequence number under one key always stands for the same byte."""
        for segments in self.sealed.values():
            stream: dict[int, int] = {}
            for sequence, _, payload in segments:
                for position, byte in enumerate(payload, start=sequence):
                    assert stream.setdefault(position, byte) == byte


def keystream_blocks(sequence: int, length: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Positions in the stream and counter values of the blocks that a payload uses (docs/crypt-option.md section 5)."""
    base = sequence & ~15
    index = numpy.arange((sequence + length - base + 15) // 16, dtype=numpy.uint64)
    return index * numpy.uint64(16) + numpy.uint64(base), index * numpy.uint64(1 << 24) + numpy.uint64(base)


def test_no_keystream_block_is_used_twice_in_64_mebibytes() -> None:
    spy = Spy(AES128_CTR_SEQIV_HMAC_SHA1)
    world = World.encrypting(spy.suite, conditions=Conditions(delay=0.001))
    behaviour = Behaviour(mss=16_000)
    world.server.stack.listen(PORT, behaviour)
    client, server = world.connect(behaviour=behaviour)
    sent = 0
    while sent <= 64 << 20:
        data = text(1 << 20)
        client.write(data)
        sent += len(data)
        assert world.clock.run_until(lambda: client.all_acknowledged, 120)
        assert len(server.received) == sent
        assert server.received[-len(data) :] == data
        world.link.log.clear()
    assert len(spy.sealed) >= 8
    for segments in spy.sealed.values():
        used = [keystream_blocks(sequence, length) for sequence, length, _ in segments]
        positions = numpy.concatenate([positions for positions, _ in used])
        blocks = numpy.concatenate([blocks for _, blocks in used])
        order = numpy.argsort(blocks, kind="stable")
        same_block = blocks[order][1:] == blocks[order][:-1]
        # Only the same place in the stream, sent again, may use a block again.
        assert (positions[order][1:] == positions[order][:-1])[same_block].all()
    world.assert_healthy()


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("isn", [1000, 2**32 - 50_000])
def test_both_directions_change_keys(suite: SymmetricSuite, isn: int) -> None:
    spy = Spy(suite, OFTEN)
    world = World.encrypting(spy.suite)
    client = world.open(isn=isn)
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), 10)
    server = world.server.stack.accepted[0]
    world.exchange(client, server, 200_000)
    world.assert_encrypted()
    assert len(spy.sealed) >= 10
    spy.assert_no_byte_sealed_twice()
    world.close(client, server)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_a_bad_path(suite: SymmetricSuite) -> None:
    for seed in range(20):
        random = Random(seed)
        spy = Spy(suite, OFTEN)
        conditions = Conditions(
            loss=random.uniform(0, 0.1), duplication=0.05, reordering=0.2, corruption=0.02, delay=0.02
        )
        world = World.encrypting(spy.suite, seed=seed, conditions=conditions, version=random.choice((4, 6)))
        client, server = world.connect()
        world.exchange(client, server, 100_000)
        world.close(client, server)
        # A copy of what was sealed two generations ago is refused here, so integrity failures are no bug.
        assert not any(isinstance(event, InternalError) for host in world.hosts for event in host.events)
        assert MARKER not in b"".join(crossing.packet for crossing in world.link.log)
        assert len(spy.sealed) >= 4, seed
        spy.assert_no_byte_sealed_twice()


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("lost", range(1, 9))
@pytest.mark.parametrize("sender", ["client", "server"])
def test_an_announcement_is_lost(suite: SymmetricSuite, sender: str, lost: int) -> None:
    spy = Spy(suite, OFTEN)
    world = World.encrypting(spy.suite)
    client, server = world.connect()
    announces = drop_nth(
        lambda crossing: (
            crossing.sender == sender
            and crossing.segment.option(CRYPT) is not None
            and crossing.segment.option(MAC) is not None
        ),
        lost,
    )
    world.link.filters.append(announces)
    world.exchange(client, server, 60_000)
    world.assert_encrypted()
    assert len(spy.sealed) >= 4


def test_only_one_side_sends() -> None:
    """The receiver's direction changes keys too, and neither announces for ever."""
    spy = Spy(AES_256_GCM_SIV, OFTEN)
    world = World.encrypting(spy.suite)
    client, server = world.connect()
    client.write(text(30_000))
    assert world.clock.run_until(lambda: client.all_acknowledged, 30)
    generations = [info.generation for host in world.hosts for info in host.engine.connections()]  # type: ignore[union-attr]
    assert generations == [1, 1]
    client.write(text(3_000))
    assert world.clock.run_until(lambda: client.all_acknowledged, 30)
    world.link.log.clear()
    client.write(text(3_000))
    assert world.clock.run_until(lambda: client.all_acknowledged, 30)
    assert [crossing for crossing in world.link.log if crossing.segment.option(CRYPT) is not None] == []
    assert len(server.received) == 36_000


def test_old_keys_are_forgotten() -> None:
    """A segment of the generation before, replayed after its time, is not even deciphered."""
    spy = Spy(AES128_CTR_SEQIV_HMAC_SHA1, OFTEN)
    world = World.encrypting(spy.suite)
    client, server = world.connect()
    client.write(text(1000))
    assert world.clock.run_until(lambda: client.all_acknowledged, 30)
    old = next(crossing for crossing in world.link.log if crossing.segment.payload_length == 1000)
    world.exchange(client, server, 30_000)
    world.link.deliver("client", old.packet)
    world.assert_encrypted()
    world.clock.run_for(OLD_KEYS_LIFETIME + 1)
    world.link.deliver("client", old.packet)
    assert world.server.daemon.counters()["integrity_failures"] == 1


@pytest.mark.interpreted
def test_nothing_keeps_the_first_master_key() -> None:
    """Whoever gets the memory of a connection must not be able to open what was sent before its keys were replaced."""

    def alive() -> list[Keys]:
        gc.collect()
        return [each for each in gc.get_objects() if isinstance(each, Keys)]

    def kept() -> set[int]:
        return {each.generation for each in alive() if not any(each is other for other in others)}

    others = alive()
    world = World.encrypting()
    client, server = world.connect()
    world.clock.run_for(3700)
    world.exchange(client, server)
    assert 0 in kept()
    world.clock.run_for(OLD_KEYS_LIFETIME + 1)
    world.exchange(client, server)
    assert kept() == {1}


def test_a_forged_announcement_changes_nothing() -> None:
    world = World.encrypting(Spy(AES128_CTR_SEQIV_HMAC_SHA1, OFTEN).suite)
    client, server = world.connect()
    world.exchange(client, server, 15_000)
    announced: list[bytes] = []

    def tamper(crossing: Crossing) -> list[bytes]:
        """The announced sequence number is changed on the way, and the checksum made right."""
        segment = crossing.segment
        value = segment.option(CRYPT)
        if value is None or segment.option(MAC) is None or announced:
            return [crossing.packet]
        area = segment.option_area.replace(value, value[:-1] + bytes((value[-1] ^ 1,)))
        announced.append(segment.edited(option_area=area))
        return [announced[0]]

    world.link.filters.append(tamper)
    world.exchange(client, server, 30_000)
    assert announced
    failures = [host.engine.counters().get("integrity_failures", 0) for host in world.hosts if host.engine is not None]
    assert sum(failures) == 1
    assert MARKER not in b"".join(crossing.packet for crossing in world.link.log)


@pytest.mark.parametrize("rekey_bytes", [10_000, 20_000, 30_000])
def test_more_is_in_flight_than_keys_can_bear(rekey_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transfer waits for acknowledgments, and goes on."""
    monkeypatch.setattr("tests.machine.endpoint.IN_FLIGHT", 58_400)
    world = World.encrypting(Spy(AES128_CTR_SEQIV_HMAC_SHA1, rekey_bytes).suite)
    client, server = world.connect()
    client.write(text(200_000))
    assert world.clock.run_until(lambda: len(server.received) == 200_000, 120)
    world.assert_encrypted()


@pytest.mark.parametrize("pause", [1.0, 30.0, 59.0])
def test_keys_change_twice_within_the_lifetime_of_the_old_ones(pause: float) -> None:
    """Keep-alives lie below the start of both generations, and are answered all the same."""
    world = World.encrypting()
    client, server = world.connect()
    ends = world.ends(client)
    for _ in range(2):
        world.exchange(client, server, 1000)
        assert world.client.daemon.rekey(*ends)
        world.exchange(client, server, 1000)
        world.clock.run_for(pause)
    began = len(world.link.log)
    for _ in range(9):
        client.keep_alive()
        world.clock.run_for(10)
    assert sum(crossing.sender == "server" for crossing in world.link.log[began:]) == 9
    world.exchange(client, server)
    world.assert_encrypted()


@pytest.mark.parametrize("pause", [30.0, 59.0])
def test_what_was_lost_before_a_second_change_of_keys_arrives(pause: float) -> None:
    world = World.encrypting()
    client, server = world.connect()
    ends = world.ends(client)
    world.exchange(client, server, 1000)
    assert world.client.daemon.rekey(*ends)
    world.exchange(client, server, 1000)
    world.clock.run_for(pause)
    until = world.clock.now + 2
    world.link.filters.append(drop(lambda crossing: world.clock.now < until and crossing.sender == "client"))
    client.write(text(500))
    world.clock.run_for(0.0)
    world.client.daemon.rekey(*ends)
    assert world.clock.run_until(client_done(client), 300)
    assert bytes(server.received[-500:]) == text(500)


def client_done(client: Socket) -> Callable[[], bool]:
    return lambda: client.all_acknowledged
