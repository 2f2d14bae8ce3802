"""The table of sessions that workers share."""

import os
import time
from collections.abc import Iterator

import pytest

from tcpcryptd.netio.workers.sessions import SLOTS, SharedSessions

LIFETIME = 60.0


def anything(_session: bytes) -> bool:
    return True


@pytest.fixture
def sessions() -> Iterator[SharedSessions]:
    table = SharedSessions(256, LIFETIME)
    yield table
    table.close()


def in_another_process(action: object) -> int:
    """What `action` returns, 0 to 255, in a fork."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            code = action()  # type: ignore[operator]
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_each_is_taken_once_and_the_newest_first(sessions: SharedSessions) -> None:
    for number in range(3):
        assert sessions.put(b"peer", b"secret %d" % number, 1.0 + number) is not None
    assert len(sessions) == 3
    assert sessions.take(b"other", 4.0, anything) is None
    assert sessions.take(b"peer", 4.0, lambda session: session != b"secret 2") == b"secret 1"
    assert [sessions.take(b"peer", 4.0, anything) for _ in range(3)] == [b"secret 2", b"secret 0", None]
    assert len(sessions) == 0


def test_another_process_takes_it(sessions: SharedSessions) -> None:
    def take() -> int:
        return sessions.take(b"peer", 1.0, anything) == b"secret"

    sessions.put(b"peer", b"secret", 1.0)
    assert [in_another_process(take), in_another_process(take)] == [1, 0]
    assert sessions.take(b"peer", 1.0, anything) is None


def test_no_two_processes_take_one(sessions: SharedSessions) -> None:
    """Both take all that they can at once."""
    keys = [b"peer %d" % number for number in range(200)]
    for key in keys:
        sessions.put(key, b"secret", 1.0)
    there = len(sessions)
    readable, writable = os.pipe()

    def take_all() -> int:
        os.read(readable, 1)
        return sum(sessions.take(key, 1.0, anything) is not None for key in keys)

    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            code = 255
            try:
                code = take_all()
            finally:
                os._exit(code)
        pids.append(pid)
    os.write(writable, b"goo")
    taken = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    os.close(readable)
    os.close(writable)
    # A bucket that is another's for too long counts as empty.
    assert sum(taken) + len(sessions) == there


def test_a_process_that_dies_with_a_lock_holds_nobody_up(sessions: SharedSessions) -> None:
    def die() -> int:
        os._exit(int(sessions._lock(sessions._bucket(b"peer"))))

    sessions.put(b"peer", b"secret", 1.0)
    assert in_another_process(die) == 1
    assert sessions.take(b"peer", 1.0, anything) == b"secret"


def test_who_does_not_let_go_holds_nobody_up(sessions: SharedSessions) -> None:
    """A worker that was stopped: the others go on as if nothing was kept there."""
    sessions.put(b"peer", b"secret", 1.0)
    ready, said = os.pipe()
    hold, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(end)
        sessions._lock(sessions._bucket(b"peer"))
        os.write(said, b"!")
        os.read(hold, 1)
        os._exit(0)
    os.read(ready, 1)
    before = time.monotonic()
    assert sessions.take(b"peer", 1.0, anything) is None
    assert sessions.put(b"peer", b"secret", 1.0) is None
    assert time.monotonic() - before < 5
    os.close(end)
    os.waitpid(pid, 0)
    assert sessions.take(b"peer", 1.0, anything) == b"secret"
    for descriptor in (ready, said, hold):
        os.close(descriptor)


def test_the_oldest_makes_room(sessions: SharedSessions) -> None:
    for number in range(SLOTS + 3):
        sessions.put(b"peer", b"secret %d" % number, float(number))
    assert len(sessions) == SLOTS
    found = [sessions.take(b"peer", 30.0, anything) for _ in range(SLOTS + 1)]
    assert found == [b"secret %d" % number for number in range(SLOTS + 2, 2, -1)] + [None]


def test_what_is_old_or_forgotten_leaves_no_byte(sessions: SharedSessions) -> None:
    number = sessions.put(b"peer", b"secret", 1.0)
    assert number is not None
    sessions.put(b"peer", b"another secret", 2.0)
    sessions.discard(b"peer", number + 7)
    sessions.discard(b"peer", number)
    assert sessions.take(b"peer", 2.0, anything) == b"another secret"
    assert not any(sessions._memory[:])
    sessions.put(b"peer", b"secret", 1.0)
    assert sessions.take(b"peer", 1.0 + LIFETIME, anything) is None
    assert not any(sessions._memory[:])
    sessions.put(b"peer", b"secret", 1.0)
    for _ in range(256 // SLOTS):
        # Nobody asks for it, but for others.
        sessions.take(b"other", 1.0 + LIFETIME, anything)
    assert not any(sessions._memory[:])


def test_flush(sessions: SharedSessions) -> None:
    sessions.put(b"peer", b"secret", 1.0)
    sessions.owner = 2
    sessions.put(b"another", b"secret", 1.0)
    assert len(sessions) == 1
    assert sessions.flush() == 2
    assert not any(sessions._memory[:])
    assert sessions.flush() == 0


def test_what_does_not_fit_is_not_kept(sessions: SharedSessions) -> None:
    assert sessions.put(b"k" * 41, b"", 1.0) is None
    assert sessions.put(b"", b"s" * 97, 1.0) is None
    assert sessions.put(b"k" * 40, b"s" * 96, 1.0) is not None
    assert sessions.take(b"k" * 40, 1.0, anything) == b"s" * 96
