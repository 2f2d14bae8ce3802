"""How many packets are cut here."""

from tcpcryptd.eno.cutting import Cutting
from tcpcryptd.eno.limits import CUT_BURST, CUTS_PER_SECOND


def cuts(cutting: Cutting, now: float, tries: int) -> int:
    return sum(cutting.take(now) for _ in range(tries))


def test_a_busy_engine_cuts_so_many_in_a_second() -> None:
    cutting = Cutting()
    assert cuts(cutting, 1000.0, 10_000) == CUT_BURST
    total = sum(cuts(cutting, 1000.0 + step / 100, 100) for step in range(1, 101))
    assert abs(total - CUTS_PER_SECOND) <= 1


def test_what_was_not_cut_is_not_saved_up() -> None:
    cutting = Cutting()
    assert cuts(cutting, 1000.0, 10_000) == CUT_BURST
    assert cuts(cutting, 2000.0, 10_000) == CUT_BURST


def test_packets_that_may_not_be_cut_do_not_count() -> None:
    allowed = False
    cutting = Cutting(lambda: allowed)
    assert cuts(cutting, 1000.0, 10_000) == 0
    allowed = True
    assert cuts(cutting, 1000.0, 10_000) == CUT_BURST
    cutting.refuse()
    assert cuts(cutting, 2000.0, 10_000) == 0
