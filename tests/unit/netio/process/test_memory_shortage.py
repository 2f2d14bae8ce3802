import logging

import pytest

from tcpcryptd.netio.process.memory_shortage import MemoryShortage


def test_an_action_is_started_again_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    relieved: list[int] = []
    shortage = MemoryShortage(lambda: relieved.append(shortage.count))
    attempts = iter([MemoryError, MemoryError, None])

    def action() -> None:
        error = next(attempts)
        if error is not None:
            raise error

    with caplog.at_level(logging.ERROR):
        shortage.endure(action)
    assert relieved == [1, 2]
    assert shortage.counters() == {"memory_shortages": 2}
    assert caplog.text.count("out of memory") == 1


def test_no_memory_for_the_relief_either() -> None:
    attempts = iter([MemoryError, None])

    def action() -> None:
        error = next(attempts)
        if error is not None:
            raise error

    def relieve() -> None:
        raise MemoryError

    shortage = MemoryShortage(relieve)
    shortage.endure(action)
    assert shortage.count == 1


def test_other_exceptions_pass() -> None:
    def action() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        MemoryShortage(lambda: None).endure(action)
