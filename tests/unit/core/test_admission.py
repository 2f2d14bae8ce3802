import pytest

from tcpcryptd.core.admission import BURST, PER_SECOND, Admission
from tcpcryptd.core.verdict import Direction

DIRECTIONS = pytest.mark.parametrize("direction", list(Direction))


def admitted(admission: Admission, direction: Direction, now: float) -> int:
    return sum(admission.admits(direction, now) for _ in range(5000))


@DIRECTIONS
def test_all_may_begin_while_everything_is_handled(direction: Direction) -> None:
    admission = Admission()
    assert admitted(admission, direction, 1.0) == 5000
    admission.handled(1, False)
    assert admitted(admission, direction, 1.0) == 5000


@DIRECTIONS
def test_a_burst_and_then_a_trickle_while_more_waits(direction: Direction) -> None:
    admission = Admission()
    admission.admits(direction, 100.0)
    admission.handled(1, True)
    assert admitted(admission, direction, 100.0) == BURST[direction]
    assert admitted(admission, direction, 100.5) == PER_SECOND[direction] / 2
    admission.handled(1, True)
    assert admitted(admission, direction, 101.5) == PER_SECOND[direction]
    assert admitted(admission, direction, 1000.0) == BURST[direction]


def test_a_new_burst_when_no_queue_has_more() -> None:
    admission = Admission()
    admission.handled(1, True)
    admission.handled(2, True)
    assert admitted(admission, Direction.OUT, 0.0) == BURST[Direction.OUT]
    admission.handled(1, False)
    assert admitted(admission, Direction.OUT, 0.0) == 0
    admission.handled(2, False)
    admission.handled(2, True)
    assert admitted(admission, Direction.OUT, 0.0) == BURST[Direction.OUT]


def test_directions_do_not_share() -> None:
    admission = Admission()
    admission.handled(1, True)
    assert admitted(admission, Direction.OUT, 0.0) == BURST[Direction.OUT]
    assert admitted(admission, Direction.IN, 0.0) == BURST[Direction.IN]
