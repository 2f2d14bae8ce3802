from tcpcryptd.core.admission import BURST, PER_SECOND, Admission


def admitted(admission: Admission, now: float, tries: int = 10 * BURST) -> int:
    return sum(admission.admits(now) for _ in range(tries))


def test_all_may_begin_while_everything_is_handled() -> None:
    admission = Admission()
    assert admitted(admission, 1.0, 10_000) == 10_000
    admission.handled(1, False)
    assert admitted(admission, 1.0, 10_000) == 10_000


def test_a_burst_and_then_a_trickle_while_more_waits() -> None:
    admission = Admission()
    admission.admits(100.0)
    admission.handled(1, True)
    assert admitted(admission, 100.0) == BURST
    assert admitted(admission, 100.5) == PER_SECOND / 2
    admission.handled(1, True)
    assert admitted(admission, 101.5) == PER_SECOND
    assert admitted(admission, 1000.0) == BURST


def test_a_new_burst_when_no_queue_has_more() -> None:
    admission = Admission()
    admission.handled(1, True)
    admission.handled(2, True)
    assert admitted(admission, 0.0) == BURST
    admission.handled(1, False)
    assert admitted(admission, 0.0) == 0
    admission.handled(2, False)
    admission.handled(2, True)
    assert admitted(admission, 0.0) == BURST
