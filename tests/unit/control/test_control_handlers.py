import pytest

from tcpcryptd.control.address import Address
from tcpcryptd.control.codec import Request, Result, encode_reply
from tcpcryptd.control.session_record import SessionRecord
from tcpcryptd.core.event import ConnectionState
from tcpcryptd.netio.clients.control_handlers import SESSIONS_PER_PAGE, Caller, Page
from tcpcryptd.netio.clients.refusal import Refused
from tests.unit.control.daemon import connection, handlers

ROOT = Caller(0, now=7.5)
USER = Caller(1000, now=7.5)
LOCAL, REMOTE = Address("192.0.2.1", 40000), Address("192.0.2.1", 80)


def ports(pages: list[Page]) -> list[int]:
    rows = [row for page in pages for row in page["sessions"]]  # type: ignore[attr-defined]
    return [SessionRecord.from_json(row).remote.port for row in rows]


def listing(include_plain: bool = False) -> Request:
    return Request(1, "sessions", {"all": include_plain})


KNOWN = (
    connection(80),
    connection(81, ConnectionState.PLAIN),
    connection(82),
    connection(83, ConnectionState.HANDSHAKE),
)


@pytest.mark.parametrize(
    ("caller", "include_plain", "seen"),
    [(ROOT, False, [80, 82]), (ROOT, True, [80, 81, 82, 83]), (USER, False, [82]), (USER, True, [81, 82])],
)
def test_who_sees_what(caller: Caller, include_plain: bool, seen: list[int]) -> None:
    table = handlers(*KNOWN, owners={80: 0, 81: 1000, 82: 1000})
    assert ports(list(table.handle(listing(include_plain), caller))) == seen


def test_the_record() -> None:
    (page,) = handlers(connection(80)).handle(Request(1, "session", {"local": LOCAL, "remote": REMOTE}), ROOT)
    record = SessionRecord.from_json(page["session"])
    assert (record.local, record.remote, record.state, record.age) == (LOCAL, REMOTE, "encrypted", 2.5)
    assert record.session_id == (80).to_bytes(20, "big")


def test_pages_are_bounded_and_complete() -> None:
    known = [connection(port, address="2001:db8:1111:2222:3333:4444:5555:6666") for port in range(1, 1001)]
    pages = list(handlers(*known).handle(listing(), ROOT))
    assert ports(pages) == list(range(1, 1001))
    for page in pages:
        assert len(page["sessions"]) <= SESSIONS_PER_PAGE  # type: ignore[arg-type]
        encode_reply(Result(2**53 - 1, page, more=True))


def test_a_long_search_comes_in_parts() -> None:
    known = [connection(port) for port in range(1, 1001)]
    pages = list(handlers(*known).handle(listing(), USER))
    assert ports(pages) == []
    assert len(pages) > 100


@pytest.mark.parametrize(
    ("caller", "remote", "errno"),
    [
        (ROOT, Address("192.0.2.1", 99), "ENOENT"),
        (ROOT, Address("2001:db8::1", 80), "EINVAL"),
        (USER, Address("192.0.2.1", 99), "ENOENT"),
        (USER, Address("192.0.2.1", 80), "EACCES"),
        (USER, Address("192.0.2.1", 82), "ENOENT"),
    ],
)
def test_refusals(caller: Caller, remote: Address, errno: str) -> None:
    table = handlers(connection(80), owners={80: 1001, 82: 1000})
    with pytest.raises(Refused) as caught:
        list(table.handle(Request(1, "session", {"local": LOCAL, "remote": remote}), caller))
    assert caught.value.errno == errno


def test_owners_are_told() -> None:
    table = handlers(connection(80), connection(81), owners={80: 1000})
    (page,) = table.handle(listing(), ROOT)
    rows = page["sessions"]
    assert [row["owner"] for row in rows] == [1000, None]  # type: ignore[attr-defined]


def test_root_alone_flushes_the_cache() -> None:
    assert list(handlers().handle(Request(1, "flush_cache"), ROOT)) == [{"flushed": 3}]
    with pytest.raises(Refused) as caught:
        list(handlers().handle(Request(1, "flush_cache"), USER))
    assert caught.value.errno == "EPERM"


def test_counters_are_for_all() -> None:
    assert list(handlers().handle(Request(1, "counters"), USER)) == [{"counters": {"plain": 3}}]
