from tcpcryptd.netio.workers.respawn import MAX_DEATHS, WINDOW, RespawnLimit


def test_deaths_in_a_row_end_it() -> None:
    limit = RespawnLimit()
    assert [limit.allows(float(second)) for second in range(MAX_DEATHS)] == [True] * (MAX_DEATHS - 1) + [False]


def test_deaths_now_and_then_do_not() -> None:
    limit = RespawnLimit()
    step = WINDOW / (MAX_DEATHS - 1) + 0.01
    assert all(limit.allows(number * step) for number in range(50))
