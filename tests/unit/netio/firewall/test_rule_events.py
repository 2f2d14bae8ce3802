import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.netio.firewall.rule_events import RuleEvents, is_change
from tcpcryptd.netio.kernel import netlink

NEW_SET, NEW_TABLE, NEW_CHAIN, NEW_RULE, DELETE_RULE, DELETE_TABLE, DELETE_CHAIN = (
    10 << 8 | kind for kind in (9, 0, 3, 6, 8, 2, 5)
)
TABLES = frozenset({(socket.AF_INET, "mangle"), (socket.AF_INET6, "mangle")})


def event(kind: int, family: int, table: str) -> bytes:
    body = bytes((family, 0, 0, 0)) + netlink.attribute(1, table.encode() + b"\0") + netlink.attribute(3, b"x\0")
    return netlink.message(kind, 0, 0, body)


@pytest.mark.parametrize("kind", [NEW_TABLE, NEW_CHAIN, NEW_RULE, DELETE_RULE, DELETE_TABLE, DELETE_CHAIN])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_changes_are_seen(kind: int, family: int) -> None:
    assert is_change(event(kind, family, "mangle"), TABLES)
    assert is_change(event(NEW_SET, family, "mangle") + event(kind, family, "mangle"), TABLES)


@pytest.mark.parametrize(
    "data",
    [
        event(NEW_SET, socket.AF_INET, "mangle"),
        event(DELETE_RULE, socket.AF_INET, "filter"),
        event(DELETE_RULE, 1, "mangle"),
        netlink.message(DELETE_RULE, 0, 0, b""),
    ],
)
def test_other_events_do_not_matter(data: bytes) -> None:
    assert not is_change(data, TABLES)


@given(st.binary(max_size=200))
def test_anything_can_be_read(data: bytes) -> None:
    assert is_change(data, TABLES) in (True, False)


class Overflowing:
    """A netlink socket whose buffer was too small for what came."""

    def recv(self, _size: int) -> bytes:
        raise OSError(errno.ENOBUFS, "No buffer space available")


def test_lost_notices_may_have_been_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    events = object.__new__(RuleEvents)
    monkeypatch.setattr(events, "_socket", Overflowing(), raising=False)
    assert events.read()
