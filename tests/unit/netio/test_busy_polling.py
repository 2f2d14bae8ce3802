import pytest

from tcpcryptd.netio.busy_polling import BusyPolling

MICROSECOND = 1e-6


def waits(polling: BusyPolling, *microseconds: float) -> float:
    for each in microseconds:
        polling.waited(each * MICROSECOND)
    return polling.window / MICROSECOND


def test_the_window_grows_while_what_is_awaited_comes_soon() -> None:
    polling = BusyPolling(200 * MICROSECOND)
    assert [waits(polling, 150) for _ in range(6)] == pytest.approx([20, 40, 80, 160, 160, 160])
    assert waits(polling, 199, 199) == pytest.approx(200)


def test_it_stays_as_it_is_while_it_suffices() -> None:
    polling = BusyPolling(200 * MICROSECOND)
    waits(polling, 150, 150)
    assert waits(polling, 40, 5, 1) == pytest.approx(40)


def test_it_closes_when_that_takes_longer() -> None:
    polling = BusyPolling(200 * MICROSECOND)
    waits(polling, 150, 150, 150)
    assert waits(polling, 200) == 0.0
    assert waits(polling, 3_600_000_000) == 0.0
    assert waits(polling, 150) == pytest.approx(20)


def test_it_is_never_wider_than_the_limit() -> None:
    assert waits(BusyPolling(5 * MICROSECOND), 4) == pytest.approx(5)
    assert waits(BusyPolling(0.0), 0, 0) == 0.0
