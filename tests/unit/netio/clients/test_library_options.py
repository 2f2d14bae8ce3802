import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.control.libtcpcrypt import SET, LibraryMessage, LibraryOption
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.core.options import ClientMode, ConnectionOptions, Support
from tcpcryptd.netio.clients.library_options import LibraryOptions
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.clients.socket_options import SocketOptions
from tcpcryptd.netio.kernel.sock_diag import BoundSocket
from tcpcryptd.records.address import Address
from tests.unit.control.daemon import FakeEngine, FakeOwners, connection

O = LibraryOption  # noqa: E741
USER, OTHER = 1000, 1001
HOST = Endpoint("192.0.2.1", 40000)
BOUND = Endpoint("0.0.0.0", 5000)
ROOM = bytes(100)


class Table:
    """Port 80 is encrypted, 81 plain, 82 undecided; all are the user's but 83. The user has bound a socket."""

    def __init__(self) -> None:
        states = ConnectionState.ENCRYPTED, ConnectionState.PLAIN, ConnectionState.HANDSHAKE, ConnectionState.ENCRYPTED
        self.engine = FakeEngine(*(connection(80 + number, state) for number, state in enumerate(states)))
        self.kept: list[tuple[Endpoint, int | None]] = []
        self.bound = [BoundSocket(USER, 77)]
        owners = FakeOwners({80: USER, 81: USER, 82: USER, 83: OTHER, 84: USER})
        options = SocketOptions(self.engine, lambda local, cookie: self.kept.append((local, cookie)))
        self.options = LibraryOptions(self.engine, owners, options, lambda address, port: self.bound)

    def get(self, option: int, port: int = 0, data: bytes = ROOM, user_id: int = USER) -> bytes:
        return self.options.answer(message(option, port, data, 0), user_id)

    def set(self, option: int, value: int, port: int = 0, user_id: int = USER) -> bytes:
        return self.options.answer(message(option, port, struct.pack("=i", value), SET), user_id)

    @property
    def chosen(self) -> ConnectionOptions:
        return self.engine.kept[BOUND, None]


def message(option: int, port: int, data: bytes, flags: int) -> LibraryMessage:
    local, remote = (HOST, Endpoint("192.0.2.1", port)) if port else (BOUND, Endpoint("0.0.0.0", 0))
    return LibraryMessage(1, Address(*local), Address(*remote), flags, 0, option, data)


def number(data: bytes) -> int:
    (value,) = struct.unpack("=i", data)
    return int(value)


def test_the_session_of_a_connection() -> None:
    assert Table().get(O.SESSID, 80) == (80).to_bytes(20, "big")
    assert Table().get(O.SESSID, 80, bytes(5)) == bytes(5)
    assert Table().get(O.APP_SUPPORT, 80) == b"\0" + (80).to_bytes(20, "big")


@pytest.mark.parametrize(
    ("support", "peer_aware", "byte"),
    [(Support.AWARE, False, 1), (Support.UNAWARE, True, 2), (Support.MANDATORY, True, 3)],
)
def test_support_of_both_applications(support: Support, peer_aware: bool, byte: int) -> None:
    table = Table()
    info = ConnectionInfo(
        HOST,
        Endpoint("192.0.2.1", 84),
        ConnectionState.ENCRYPTED,
        session_id=b"id",
        peer_aware=peer_aware,
        options=ConnectionOptions(support=support),
    )
    table.engine.known.append(info)
    assert table.get(O.APP_SUPPORT, 84) == bytes((byte,)) + b"id"


def test_enabled() -> None:
    assert [number(Table().get(O.ENABLE, port)) for port in (80, 81, 0)] == [1, 0, 1]


def test_options_of_a_socket_that_is_not_connected() -> None:
    table = Table()
    assert [number(table.get(option)) for option in (O.ENABLE, O.CMODE, O.NOCACHE)] == [1, 0, 0]
    for option, value in ((O.ENABLE, 0), (O.CMODE, 5), (O.NOCACHE, 1), (O.APP_SUPPORT, 2)):
        assert table.set(option, value) == b""
    assert table.chosen == ConnectionOptions(
        enabled=False, support=Support.MANDATORY, client_mode=ClientMode.ALWAYS, cache=False
    )
    assert [number(table.get(option)) for option in (O.ENABLE, O.CMODE, O.NOCACHE)] == [0, 1, 1]
    assert table.kept == [(BOUND, 77)] * 4
    table.set(O.CMODE, 0)
    assert table.chosen.client_mode is ClientMode.DEFAULT


def test_a_value_in_one_byte() -> None:
    table = Table()
    table.options.answer(message(O.NOCACHE, 0, b"\1", SET), USER)
    assert not table.chosen.cache


def test_reset() -> None:
    table = Table()
    table.set(O.RESET, 0, 80)
    assert table.engine.actions == [("reset", HOST, Endpoint("192.0.2.1", 80))]


@pytest.mark.parametrize(
    ("option", "port", "sets", "expected"),
    [
        (O.SESSID, 0, False, "ENOTCONN"),
        (O.APP_SUPPORT, 0, False, "ENOTCONN"),
        (O.SESSID, 81, False, "ENODATA"),
        (O.SESSID, 82, False, "EAGAIN"),
        (O.ENABLE, 82, False, "EAGAIN"),
        (O.SESSID, 99, False, "ENOENT"),
        (O.SESSID, 83, False, "EACCES"),
        (O.RESET, 83, True, "EACCES"),
        (O.RESET, 0, True, "ENOTCONN"),
        (O.RESET, 80, False, "EINVAL"),
        (O.SESSID, 80, True, "EINVAL"),
        (O.ENABLE, 80, True, "EISCONN"),
        (O.CMODE, 80, True, "EISCONN"),
        (3, 80, False, "ENOPROTOOPT"),
    ],
)
def test_refusals(option: int, port: int, sets: bool, expected: str) -> None:
    with pytest.raises(Refused) as caught:
        Table().set(option, 1, port) if sets else Table().get(option, port)
    assert caught.value.errno == expected
    assert hasattr(errno, expected)


def test_too_little_room() -> None:
    with pytest.raises(Refused):
        Table().get(O.APP_SUPPORT, 80, bytes(20))
    assert Table().get(O.APP_SUPPORT, 80, bytes(21))


@pytest.mark.parametrize(
    ("bound", "user_id", "expected"),
    [
        ([], USER, "ENOENT"),
        ([BoundSocket(OTHER, 1)], USER, "EACCES"),
        ([BoundSocket(USER, 1), BoundSocket(OTHER, 2)], USER, "EACCES"),
        ([BoundSocket(OTHER, 1)], 0, None),
    ],
)
def test_whose_port_it_is(bound: list[BoundSocket], user_id: int, expected: str | None) -> None:
    table = Table()
    table.bound = bound
    if expected is None:
        table.set(O.NOCACHE, 1, user_id=user_id)
        assert not table.chosen.cache
        return
    with pytest.raises(Refused) as caught:
        table.set(O.NOCACHE, 1, user_id=user_id)
    assert caught.value.errno == expected
    assert not table.engine.kept


def test_root_may_ask_of_all() -> None:
    assert Table().get(O.SESSID, 83, user_id=0)


@given(
    st.sampled_from([*LibraryOption, 3, 2**32 - 1]),
    st.sampled_from([0, 80, 81, 82, 83, 99]),
    st.binary(max_size=30),
    st.integers(0, 3),
)
def test_an_answer_fits_or_is_refused(option: int, port: int, data: bytes, flags: int) -> None:
    try:
        answer = Table().options.answer(message(option, port, data, flags), USER)
    except Refused:
        return
    assert len(answer) <= len(data)


@pytest.mark.parametrize("option", [O.ENABLE, O.NOCACHE, O.APP_SUPPORT])
@pytest.mark.parametrize("data", [struct.pack("=i", 7), struct.pack("=i", -1), b"\7", bytes(2), bytes(8)])
def test_a_wrong_value(option: int, data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        Table().options.answer(message(option, 0, data, SET), USER)
    assert caught.value.errno == "EINVAL"


def test_a_socket_without_a_port() -> None:
    unbound = LibraryMessage(1, Address("0.0.0.0", 0), Address("0.0.0.0", 0), SET, 0, O.NOCACHE, bytes(4))
    with pytest.raises(Refused) as caught:
        Table().options.answer(unbound, 0)
    assert caught.value.errno == "EINVAL"
