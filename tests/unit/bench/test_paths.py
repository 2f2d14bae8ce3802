from dataclasses import replace
from random import Random

import pytest

from bench.paths.link import Direction
from bench.paths.path import PATHS, Path

PACKET = bytes(1250)
"""One millisecond at 10 Mbit/s."""
PATH = Path("", round_trip=0.1, rate=10, return_rate=1, queue=0.005)


def direction(path: Path, *, senders: bool = True) -> Direction:
    return Direction(path, senders, Random(1))


def arrivals(path: Path, count: int, *, senders: bool = True) -> list[float]:
    """When that many packets arrive that come at once, at 0."""
    one_way = direction(path, senders=senders)
    return [round(arrival, 4) for _ in range(count) for arrival, _ in one_way.arrivals(PACKET, 0.0)]


def test_packets_come_in_turn_and_what_finds_no_room_is_dropped() -> None:
    assert arrivals(PATH, 10) == [0.051, 0.052, 0.053, 0.054, 0.055, 0.056]
    assert arrivals(PATH, 10, senders=False) == [0.06]


@pytest.mark.parametrize(
    ("path", "least", "most"),
    [
        (Path("loss", loss=0.5), 350, 650),
        (Path("duplication", duplication=0.5), 1350, 1650),
        (Path("reordering", reordering=0.5), 1000, 1000),
        (Path("jitter", jitter=0.05), 1000, 1000),
        (Path("corruption", corruption=0.5), 1000, 1000),
    ],
)
def test_what_happens_to_packets_of_the_senders_direction_alone(path: Path, least: int, most: int) -> None:
    path = replace(path, queue=10)
    assert least <= len(found := arrivals(path, 1000)) <= most
    assert arrivals(path, 1000, senders=False) == arrivals(Path("", queue=10), 1000, senders=False)
    assert (sorted(found) == found) == (path.name != "reordering")


def test_corruption_leaves_the_ip_header_alone() -> None:
    one_way = direction(replace(PATH, queue=10, corruption=1))
    for _ in range(200):
        ((_, changed),) = one_way.arrivals(PACKET, 0.0)
        assert changed != PACKET
        assert changed[:20] == PACKET[:20]


def test_each_path_has_a_name_of_its_own() -> None:
    assert len({path.name for path in PATHS}) == len(PATHS)
