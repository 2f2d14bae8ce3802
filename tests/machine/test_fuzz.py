"""Scripts of events against two engines and an attacker (fuzz/): the corpus, random ones, and ones from hypothesis.

A longer run: `python -m fuzz --packets 10000000 --seed 1`, and `python -m fuzz.guided fuzz/corpus/crypt` with atheris.
"""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.__main__ import scripts
from fuzz.arena import Arena
from fuzz.corpus import load
from fuzz.oracle import Violation, check_engine, check_stream
from fuzz.script import STEPS, run
from fuzz.target import TARGETS
from tests.machine.endpoint import Behaviour

pytestmark = pytest.mark.interpreted

PROTOCOLS = pytest.mark.parametrize("protocol", sorted(TARGETS))
RANDOM_SCRIPTS = 400
SEED = 5


@PROTOCOLS
def test_the_corpus(protocol: str) -> None:
    corpus = load(protocol)
    assert corpus, f"fuzz/corpus/{protocol} is empty"
    for script in corpus:
        run(script, TARGETS[protocol])


@PROTOCOLS
def test_random_scripts(protocol: str) -> None:
    packets = sum(run(script, TARGETS[protocol]) for script in islice(scripts(SEED, []), RANDOM_SCRIPTS))
    assert packets > 10 * RANDOM_SCRIPTS


def steps() -> st.SearchStrategy[bytes]:
    """A step and what it reads, so that hypothesis can leave out whole steps."""
    return st.tuples(st.integers(0, len(STEPS) - 1).map(lambda number: bytes((number,))), st.binary(max_size=12)).map(
        b"".join
    )


@PROTOCOLS
@settings(max_examples=max(settings().max_examples, 1))
@given(variant=st.integers(0, 2), lawless=st.integers(0, 3), script=st.lists(steps(), max_size=30))
def test_scripts_of_hypothesis(protocol: str, variant: int, lawless: int, script: list[bytes]) -> None:
    run(bytes((variant, lawless)) + b"".join(script), TARGETS[protocol])


def opened(protocol: str) -> Arena:
    arena = Arena(TARGETS[protocol], 0)
    arena.open(40_000, Behaviour())
    arena.world.clock.run_for(1)
    arena.check()
    return arena


@PROTOCOLS
def test_a_leak_would_be_seen(protocol: str) -> None:
    """The fuzzer's own test: an engine that lets everything pass."""
    arena = opened(protocol)
    (client,) = (stream for stream in arena.streams.values() if stream.host == "client")
    assert client.encrypted
    arena.world.client.kill_engine()
    arena.world.client.tracked.clear()
    client.write(100)
    with pytest.raises(Violation, match="in clear"):
        arena.world.clock.run_for(1)


@PROTOCOLS
def test_a_wrong_byte_would_be_seen(protocol: str) -> None:
    arena = opened(protocol)
    client, server = sorted(arena.streams.values(), key=lambda stream: stream.host)
    client.write(100)
    arena.world.clock.run_for(1)
    check_stream(server, arena.streams)
    server.socket.received += b"?"
    with pytest.raises(Violation, match="wrong byte"):
        check_stream(server, arena.streams)


@PROTOCOLS
def test_an_exception_would_be_seen(protocol: str) -> None:
    arena = opened(protocol)
    engine = arena.world.client.daemon
    engine._services.counters["internal_errors"] += 1
    with pytest.raises(Violation, match="exception"):
        check_engine(engine, arena.world.client)
