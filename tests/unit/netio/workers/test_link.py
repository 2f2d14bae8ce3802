"""The requests that one worker was asked, in time and late, answered and not."""

from collections.abc import Iterator

import pytest

from tcpcryptd.netio.workers.channel import MAX_MESSAGE, Channel, Closed, Json, socket_pair
from tcpcryptd.netio.workers.link import DEADLINE, OPEN_DEADLINE, UNANSWERED, Answer, WorkerLink


class Rig:
    def __init__(self) -> None:
        ours, theirs = socket_pair()
        self.link = WorkerLink(7, Channel(ours))
        self.link.is_open = True
        self.worker = Channel(theirs)
        self.answers: list[tuple[str, Answer]] = []

    def ask(self, name: str, now: float = 0.0) -> None:
        assert self.link.post(name, [], now, lambda answer: self.answers.append((name, answer)))

    def say(self, *messages: Json) -> list[Json]:
        for message in messages:
            assert self.worker.send(message)
        return list(self.link.read())


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.worker.close()
    rig.link.channel.close()


def test_an_answer_reaches_who_asked(rig: Rig) -> None:
    rig.ask("a")
    rig.ask("b")
    assert [rig.worker.receive(), rig.worker.receive(), rig.worker.receive()] == [[1, "a"], [2, "b"], None]
    assert rig.say([1, True, "x"]) == []
    assert rig.say([2, True, None], [0, True, "unasked"]) == ["unasked"]
    assert rig.answers == [("a", "x"), ("b", None)]


def test_a_request_that_failed_is_not_an_answer(rig: Rig) -> None:
    rig.ask("a")
    rig.say([1, False, None])
    assert rig.answers == [("a", UNANSWERED)]


def test_an_answer_that_was_lost_is_not_waited_for(rig: Rig) -> None:
    rig.ask("a", 0.0)
    rig.ask("b", 10.0)
    assert rig.link.is_late(10.0)
    rig.say([2, True, 5])
    assert rig.answers == [("b", 5)]
    assert not rig.link.is_late(1000.0)


def test_late_until_it_has_caught_up(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.ask("a", 100.0)
    assert not rig.link.is_late(100.0 + DEADLINE)
    for _ in range(3):
        assert rig.link.is_late(100.1 + DEADLINE)
    assert not rig.link.is_able(100.1 + DEADLINE)
    rig.say([1, True, None])
    assert rig.link.is_able(200.0)
    assert [record.getMessage() for record in caplog.records] == [
        "worker 7 does not answer",
        "worker 7 answers again",
    ]


def test_a_new_worker_has_more_time(rig: Rig) -> None:
    rig.link.is_open = False
    rig.ask("open")
    assert not rig.link.is_late(OPEN_DEADLINE)
    assert not rig.link.is_able(0.0)
    assert rig.link.is_late(OPEN_DEADLINE + 0.1)


def test_a_worker_that_is_gone_can_be_asked_nothing(rig: Rig) -> None:
    assert rig.worker.send([0, True, "last words"])
    rig.worker.close()
    assert list(rig.link.read()) == ["last words"]
    assert rig.link.is_closed
    with pytest.raises(Closed):
        rig.ask("a")


def test_its_end_is_seen_when_it_is_asked(rig: Rig) -> None:
    rig.worker.close()
    with pytest.raises(Closed):
        rig.ask("a")
    assert not rig.link.is_closed


def test_a_worker_that_does_not_read_can_be_asked_no_more(rig: Rig) -> None:
    asked = 0
    while rig.link.post("set_options", ["x" * 10_000], 0.0, lambda _: None):
        asked += 1
    assert asked > 10
    assert not rig.link.is_closed


def test_messages_are_bounded() -> None:
    ours, theirs = (Channel(end) for end in socket_pair())
    text = "x" * (MAX_MESSAGE - len('[""]'))
    assert ours.send([text])
    assert theirs.receive() == [text]
    with pytest.raises(ValueError, match="bytes"):
        ours.send([text + "x"])
    ours.close()
    with pytest.raises(Closed):
        theirs.receive()
    theirs.close()
