"""The queues' numbers: of one worker and of several."""

import pytest

from tcpcryptd.netio.queue_numbers import LAST_FIRST_QUEUE, QueueNumbers

BALANCED = QueueNumbers.starting_at(10, 4)


@pytest.mark.parametrize("numbers", [(1, 1, 2), (1, 2, 1), (2, 1, 1), (-1, 2, 3), (65534, 65535, 65536)])
def test_bad_queue_numbers(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="queues"):
        QueueNumbers(*numbers)


def test_queue_numbers_are_adjacent() -> None:
    assert QueueNumbers.starting_at(7) == QueueNumbers(7, 8, 9)
    assert QueueNumbers.starting_at(LAST_FIRST_QUEUE).all == (65533, 65534, 65535)
    with pytest.raises(ValueError, match="queues"):
        QueueNumbers.starting_at(LAST_FIRST_QUEUE + 1)


def test_a_worker_has_one_queue_of_each_class() -> None:
    assert [BALANCED.of_worker(index).all for index in range(4)] == [(10 + n, 14 + n, 18 + n) for n in range(4)]
    assert sorted(BALANCED.all) == list(range(10, 22))
    assert BALANCED.of_worker(0).workers == 1


@pytest.mark.parametrize(("first", "workers"), [(65534, 1), (65525, 4), (-1, 2), (10, 0), (10, 65)])
def test_queues_that_do_not_fit(first: int, workers: int) -> None:
    with pytest.raises(ValueError, match=r"queues|workers"):
        QueueNumbers.starting_at(first, workers)


@pytest.mark.parametrize(
    ("queues", "text"),
    [
        (QueueNumbers(), "69, 70 and 71"),
        (BALANCED, "10 to 21"),
        (QueueNumbers(1, 11, 21, 2), "1, 2, 11, 12, 21 and 22"),
    ],
)
def test_queues_in_words(queues: QueueNumbers, text: str) -> None:
    assert str(queues) == text
