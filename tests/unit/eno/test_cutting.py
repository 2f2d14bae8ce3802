"""How many packets are cut here."""

from tcpcryptd.eno.cutting import Cutting
from tcpcryptd.eno.limits import CUT_TOGETHER


def cuts(cutting: Cutting, now: float, tries: int) -> int:
    return sum(cutting.take(now) for _ in range(tries))


def test_few_packets_at_a_time_are_all_cut() -> None:
    cutting = Cutting()
    assert [cuts(cutting, 1000 + step / 1000, CUT_TOGETHER) for step in range(5)] == 5 * [CUT_TOGETHER]


def test_many_packets_at_a_time_mean_that_there_is_much_to_do() -> None:
    cutting = Cutting()
    assert cuts(cutting, 1000.0, 20) == CUT_TOGETHER
    assert [cuts(cutting, 1000 + step / 1000, 20) for step in range(1, 5)] == 4 * [0]
    assert [cuts(cutting, 1001 + step / 1000, 1) for step in range(3)] == [0, 1, 1]


def test_none_where_it_would_do_harm_or_is_refused() -> None:
    allowed = False
    cutting = Cutting(lambda: allowed)
    assert not cutting.take(1000.0)
    allowed = True
    assert cutting.take(1001.0)
    cutting.refuse()
    assert not cutting.take(1002.0)
