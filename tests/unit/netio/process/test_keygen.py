import os
import select
import threading
from collections.abc import Callable

import pytest

from tcpcryptd.netio.process import keygen
from tcpcryptd.netio.process.keygen import KeyGenerator, KeyJob

DEADLINE = 10.0


def serve(generator: KeyGenerator, until: Callable[[], bool]) -> None:
    while not until():
        assert select.select([generator], [], [], DEADLINE)[0], "no key was made"
        generator.handle_ready()


def test_keys_are_made_elsewhere_and_installed_here() -> None:
    made: list[int] = []
    installed: list[tuple[int, int]] = []

    def make() -> int:
        made.append(threading.get_ident())
        return len(made)

    generator = KeyGenerator([KeyJob("test", make, lambda key: installed.append((key, threading.get_ident())), 0.001)])
    generator.start()
    serve(generator, lambda: len(installed) >= 3)
    generator.close()
    here = threading.get_ident()
    assert [key for key, _ in installed[:3]] == [1, 2, 3]
    assert {thread for _, thread in installed} == {here}
    assert here not in made


def test_failure_is_counted_and_tried_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(keygen, "_RETRY", 0.001)
    outcomes = [ValueError("secret 42"), None]
    installed: list[str] = []

    def make() -> str:
        outcome = outcomes.pop(0) if outcomes else None
        if outcome is not None:
            raise outcome
        return "key"

    generator = KeyGenerator([KeyJob("test", make, installed.append, 0.001)])
    generator.start()
    serve(generator, lambda: bool(installed))
    generator.close()
    assert generator.failures == 1
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_close_does_not_wait_for_the_next_key() -> None:
    generator = KeyGenerator([KeyJob("test", lambda: 1, lambda key: None, 3600.0)])
    generator.start()
    before = threading.active_count()
    generator.close()
    assert threading.active_count() < before


def test_close_without_start() -> None:
    generator = KeyGenerator([])
    descriptor = generator.fileno()
    generator.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
