"""The watch over rules that live in memory, and when it tells of damage."""

import errno
import logging
import select
import threading
from collections.abc import Iterator

import pytest

from tcpcryptd.netio.errors import FirewallError
from tcpcryptd.netio.firewall import rule_watch
from tcpcryptd.netio.firewall.backend import RuleState
from tcpcryptd.netio.firewall.rule_events import RuleEvents
from tcpcryptd.netio.firewall.rule_watch import RuleWatch

DEADLINE = 10.0


class Rules:
    """Rules that a test takes away."""

    def __init__(self) -> None:
        self.gone = False
        self.moved = False
        self.outdated = False
        self.unreadable = False
        self.repairable = True
        self.looks = 0
        self.changed = threading.Condition()

    def state(self) -> RuleState:
        with self.changed:
            self.looks += 1
            self.changed.notify_all()
            if self.unreadable:
                raise FirewallError("cannot be read")
            if self.gone:
                return RuleState.DAMAGED
            if self.outdated:
                return RuleState.OUTDATED
            return RuleState.MOVED if self.moved else RuleState.INTACT

    def repair(self) -> None:
        if not self.repairable:
            raise FirewallError("no more rules")
        self.gone = self.moved = self.outdated = False

    def announced(self) -> frozenset[tuple[int, str]]:
        return frozenset()

    def legacy_versions(self) -> list[int]:
        return []

    def wait_looks(self, more: int) -> None:
        self.wait_look(self.looks + more)

    def wait_look(self, number: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.looks >= number, DEADLINE)


@pytest.fixture(autouse=True)
def _no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(tables: object) -> RuleEvents:
        raise OSError(errno.EPROTONOSUPPORT, "no nf_tables")

    monkeypatch.setattr(rule_watch, "RuleEvents", refuse)


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def watch(rules: Rules, told: list[str]) -> Iterator[RuleWatch]:
    running = RuleWatch(rules, lambda: told.append("damage"), interval=0.01)
    running.start()
    yield running
    running.close()


def ready(watch: RuleWatch, seconds: float) -> bool:
    return bool(select.select([watch], [], [], seconds)[0])


def test_rules_that_are_there(rules: Rules, watch: RuleWatch) -> None:
    rules.wait_looks(3)
    assert not ready(watch, 0)
    assert watch.counters() == {"rules_repaired": 0, "rules_not_repaired": 0, "rules_moved": 0}


def test_damage_is_told_and_repaired(
    rules: Rules, watch: RuleWatch, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            rules.gone = True
            assert ready(watch, DEADLINE)
            watch.handle_ready()
            rules.wait_looks(3)
    assert not rules.gone
    assert told
    assert watch.counters() == {"rules_repaired": 3, "rules_not_repaired": 0, "rules_moved": 0}
    assert len(caplog.records) == 1


def test_rules_that_have_to_come_first_are_moved_and_nothing_is_told(
    rules: Rules, watch: RuleWatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        rules.repairable = False
        rules.moved = True
        rules.wait_looks(2)
        rules.repairable = True
        rules.wait_looks(2)
    assert not rules.moved
    assert not ready(watch, 0)
    assert watch.counters()["rules_moved"] == 1
    assert not caplog.records


def test_who_has_changed_what_the_rules_are_for_does_not_wait(rules: Rules) -> None:
    watch = RuleWatch(rules, lambda: None, interval=1000)
    watch.start()
    try:
        rules.wait_look(1)
        rules.outdated = True
        watch.look()
        rules.wait_look(2)
    finally:
        watch.close()
    assert not rules.outdated


def test_rules_of_new_settings_that_are_refused_are_mentioned_once(
    rules: Rules, watch: RuleWatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        rules.repairable = False
        rules.outdated = True
        rules.wait_looks(3)
        rules.repairable = True
        rules.wait_looks(2)
    assert not rules.outdated
    assert not ready(watch, 0)
    assert watch.counters()["rules_moved"] == 0
    assert [record.message for record in caplog.records] == [
        "the firewall rules are still those of the earlier settings: no more rules"
    ]


def test_what_cannot_be_repaired_is_told_each_time(
    rules: Rules, watch: RuleWatch, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    rules.repairable = False
    with caplog.at_level(logging.WARNING):
        rules.gone = True
        for _ in range(3):
            assert ready(watch, DEADLINE)
            watch.handle_ready()
            rules.wait_looks(1)
        rules.repairable = True
        rules.wait_looks(3)
    assert len(told) == 3
    assert watch.failures >= 2
    assert watch.repaired == 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_rules_that_cannot_be_looked_at_are_mentioned_once(
    rules: Rules, watch: RuleWatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        rules.unreadable = True
        rules.wait_looks(5)
        rules.unreadable = False
        rules.wait_looks(2)
    assert not ready(watch, 0)
    assert len(caplog.records) == 1
    assert "cannot be read" in caplog.text


def test_an_unforeseen_exception_does_not_end_the_watch(
    rules: Rules, watch: RuleWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(rules, "repair", fail)
        rules.gone = True
        rules.wait_looks(2)
    rules.wait_looks(3)
    assert not rules.gone
    assert watch.repaired == 1
