from dataclasses import replace

import pytest

from tcpcryptd.control.codec import Request, Result, encode_reply
from tcpcryptd.core.event import ConnectionState
from tcpcryptd.netio.clients.control_handlers import PEERS_PER_PAGE, SESSIONS_PER_PAGE, Caller, Page
from tcpcryptd.netio.clients.host_list import MAX_HOSTS
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.records.address import Address
from tcpcryptd.records.connection_info import ConnectionInfo, PeerInfo
from tcpcryptd.records.host_info import HostInfo
from tests.unit.control.daemon import connection, handlers

ROOT = Caller(0, now=7.5)
USER = Caller(1000, now=7.5)
LOCAL, REMOTE = Address("192.0.2.1", 40000), Address("192.0.2.1", 80)


def ports(pages: list[Page]) -> list[int]:
    rows = [row for page in pages for row in page["sessions"]]  # type: ignore[attr-defined]
    return [ConnectionInfo.from_message(row).remote.port for row in rows]


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
    record = ConnectionInfo.from_message(page["session"])
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


WEB1 = PeerInfo("authenticated", "web1", "SHA256:x")
CHANGED = PeerInfo("changed", None, "SHA256:y", "another key")
NOBODY = PeerInfo("absent", reason="nothing was proved")


def peers(pages: list[Page]) -> list[HostInfo]:
    return [HostInfo.from_message(row) for page in pages for row in page["peers"]]  # type: ignore[attr-defined]


def test_peers() -> None:
    """Root sees what is remembered and open; others what is open of theirs; who was seen last comes first."""
    known = [
        replace(connection(80), peer=WEB1, last_seen=6.0),
        replace(connection(81, address="192.0.2.9"), peer=NOBODY, last_seen=7.0),
        replace(connection(82), peer=WEB1, last_seen=6.5),
        replace(connection(83, ConnectionState.HANDSHAKE), peer=WEB1, last_seen=7.0),
        connection(84, address="192.0.2.8"),
    ]
    remembered = [
        HostInfo("192.0.2.1", NOBODY, 1.0),
        HostInfo("192.0.2.7", CHANGED, 2.5),
        HostInfo("192.0.2.1", WEB1, 5.0),
        HostInfo("192.0.2.7", NOBODY, 2.0),
    ]
    table = handlers(*known, owners={80: 1000, 81: 0, 82: 0}, hosts=remembered)
    assert peers(list(table.handle(Request(1, "peers", {}), ROOT))) == [
        HostInfo("192.0.2.9", NOBODY, 0.5, 1),
        HostInfo("192.0.2.1", WEB1, 1.0, 2),
        HostInfo("192.0.2.7", CHANGED, 5.0),
    ]
    assert peers(list(table.handle(Request(1, "peers", {}), USER))) == [HostInfo("192.0.2.1", WEB1, 1.5, 1)]


def test_the_list_of_peers_is_bounded_and_comes_in_parts() -> None:
    addresses = [f"2001:db8:1111:2222:3333:4444:{number:x}:6666" for number in range(MAX_HOSTS + 100)]
    long = PeerInfo("unknown", None, "SHA256:" + 43 * "x", "the key " * 20)
    known = [replace(connection(80, address=address), peer=long) for address in addresses]
    pages = list(handlers(*known).handle(Request(1, "peers", {}), ROOT))
    assert len(peers(pages)) == MAX_HOSTS
    for page in pages:
        assert len(page["peers"]) <= PEERS_PER_PAGE  # type: ignore[arg-type]
        encode_reply(Result(2**53 - 1, page, more=True))
    # The connections are looked at before anything can be told.
    assert pages[0] == {"peers": []}


def test_no_peers() -> None:
    assert list(handlers().handle(Request(1, "peers", {}), ROOT)) == [{"peers": []}]
