"""Both directions' ends joined by a network that loses, repeats, reorders, cuts and changes what it carries."""

from random import Random

import pytest

from tcpcryptd.eno.limits import Limits
from tcpcryptd.eno.stream.inbound_stream import InboundStream, Outcome
from tcpcryptd.eno.stream.outbound_stream import OutboundStream, Piece
from tests.unit.eno.stream.fakes import FakeKeys
from tests.unit.eno.stream.simulation import Simulation

SEEDS = range(30)
RUNS = 25


def assert_all_arrived(simulation: Simulation) -> None:
    assert bytes(simulation.receiver.stream) == simulation.stream
    assert simulation.receiver.finished
    assert simulation.sender.done
    assert simulation.inbound.finished
    simulation.inbound.acknowledge(simulation.receiver.next)
    assert simulation.inbound.next_wire == simulation.outbound.wire_end
    assert simulation.outbound.acknowledged == simulation.outbound.wire_end
    assert simulation.inbound.generation == simulation.outbound.generation
    assert (simulation.outbound._ledger.cost, simulation.inbound._ledger.cost) == (0, 0)
    assert not simulation.inbound.has_gap


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_arrives_as_it_was_written(seed: int) -> None:
    """The sender never sends again what was selectively acknowledged."""
    outcomes = set()
    for run in range(RUNS):
        simulation = Simulation(seed * RUNS + run)
        simulation.run(150)
        simulation.recover()
        assert_all_arrived(simulation)
        outcomes |= simulation.outcomes
    assert outcomes >= {Outcome.DELIVERED, Outcome.HELD, Outcome.OUT_OF_ORDER, Outcome.EMPTY, Outcome.OUTDATED}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_does_not_reach_the_kernel_is_delivered_again(seed: int) -> None:
    outcomes = set()
    for run in range(RUNS):
        simulation = Simulation(seed * RUNS + run, drops=True)
        simulation.run(150)
        simulation.recover()
        assert_all_arrived(simulation)
        outcomes |= simulation.outcomes
    assert Outcome.REPEATED in outcomes


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_changed_on_the_way_is_never_delivered(seed: int) -> None:
    failures = conflicts = 0
    for run in range(RUNS):
        simulation = Simulation(seed * RUNS + run, corrupt=True)
        simulation.run(150)
        simulation.recover()
        assert_all_arrived(simulation)
        failures += simulation.inbound.failures
        conflicts += simulation.inbound.conflicts
    assert failures + conflicts


class Host:
    """Both directions of one end; `out` is what it has put on the wire and the other has not taken."""

    def __init__(self, outbound_keys: FakeKeys, inbound_keys: FakeKeys) -> None:
        self.outbound = OutboundStream(outbound_keys, 0, Limits())
        self.inbound = InboundStream(inbound_keys, 0, Limits())
        self.out: list[Piece] = []

    def put(self, piece: Piece | None) -> None:
        if piece is not None:
            self.out.append(piece)

    def take(self, piece: Piece) -> None:
        outcome, _ = self.inbound.receive(piece.wire, bytes(piece.payload))
        assert outcome in (Outcome.DELIVERED, Outcome.EMPTY)
        if self.inbound.generation != self.outbound.remote_generation:
            self.put(self.outbound.follow(self.inbound.generation))


@pytest.mark.parametrize("seed", range(100))
def test_both_ends_rekey_at_any_time_and_agree(seed: int) -> None:
    random = Random(seed)
    keys = FakeKeys("ab"), FakeKeys("ba")
    hosts = Host(*keys), Host(*keys[::-1])
    for _ in range(100):
        host, peer = random.sample(hosts, 2)
        action = random.randrange(4)
        if action == 0:
            host.outbound.rekey()
            host.put(host.outbound.empty_frame())
        elif action == 1:
            host.outbound.rekey()
        elif action == 2:
            host.put(host.outbound.send(host.outbound.end, b"data"))
        elif host.out:
            peer.take(host.out.pop(0))
    while any(host.out for host in hosts):
        for host, peer in (hosts, hosts[::-1]):
            if host.out:
                peer.take(host.out.pop(0))
    generations = {host.outbound.generation for host in hosts} | {host.inbound.generation for host in hosts}
    assert len(generations) == 1
    assert generations.pop() > 5


@pytest.mark.parametrize("seed", range(20))
def test_bounds_hold_whatever_comes(seed: int) -> None:
    """Segments of nobody's, in the reach of the bounds and beyond."""
    random = Random(seed)
    limits = Limits(unacknowledged=5_000, reach=2_000, ranges=5, segments=20)
    inbound = InboundStream(FakeKeys(), 0, limits)
    outbound = OutboundStream(FakeKeys(), 0, limits)
    for _ in range(300):
        start = random.randint(0, 3_000)
        inbound.receive(start, random.randbytes(random.choice([1, 1, 5, 300])), random.random() < 0.1)
        held = inbound._held
        assert held.segments <= limits.segments + limits.ranges + 2
        assert len(held._ranges) <= limits.ranges + 1
        assert sum(held_range.end - held_range.start for held_range in held._ranges) <= limits.reach
        assert (inbound.end, inbound.finished) == (0, False)
        outbound.send(outbound.end, bytes(random.randint(0, 300)))
        outbound.send(random.randint(0, outbound.end), bytes(random.randint(0, 300)))
        outbound.empty_frame()
        assert outbound._ledger.cost <= limits.unacknowledged
