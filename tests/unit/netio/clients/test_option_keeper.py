"""Options live as long as the socket that they were set for."""

import select
import socket
import struct
from collections.abc import Iterator

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.netio.clients.option_keeper import OptionKeeper
from tcpcryptd.netio.kernel.sock_diag import TcpSockets, list_tcp_sockets
from tests.e2e.harness.process import wait_until
from tests.unit.control.daemon import FakeEngine

OPTIONS = ConnectionOptions(enabled=False)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def keeper(engine: FakeEngine) -> Iterator[OptionKeeper]:
    running = OptionKeeper(engine, 0.01)
    yield running
    running.close()


def cookie(sock: socket.socket) -> int:
    return int(struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, 57, 8))[0])


def leave(engine: FakeEngine, keeper: OptionKeeper, sock: socket.socket) -> Endpoint:
    local = Endpoint(*sock.getsockname()[:2])
    keeper.keep(local, cookie(sock))
    engine.set_options(OPTIONS, local)
    return local


def turn(keeper: OptionKeeper) -> None:
    if select.select([keeper], [], [], 10)[0]:
        keeper.handle_ready()


@pytest.mark.parametrize("listening", [False, True])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_forgotten_with_the_socket(engine: FakeEngine, keeper: OptionKeeper, family: int, listening: bool) -> None:
    with socket.socket(family) as sock:
        sock.bind(("", 0))
        if listening:
            sock.listen()
        local = leave(engine, keeper, sock)
        for _ in range(3):
            turn(keeper)
        assert engine.options(local) == OPTIONS

    def forgotten() -> bool:
        turn(keeper)
        return engine.options(local) == ConnectionOptions()

    wait_until(forgotten, "the options are forgotten")


def test_kept_while_the_connection_lives(engine: FakeEngine, keeper: OptionKeeper) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        local = leave(engine, keeper, sock)
        sock.connect(listener.getsockname())
        for _ in range(3):
            turn(keeper)
        assert engine.options(local) == OPTIONS


def test_the_next_owner_of_the_port_inherits_nothing() -> None:
    engine = FakeEngine()
    keeper = OptionKeeper(engine, 0.01, lambda: TcpSockets(frozenset((2,)), frozenset((80,))))
    local = Endpoint("127.0.0.1", 80)
    keeper.keep(local, 1)
    engine.set_options(OPTIONS, local)
    keeper.keep(local, 1)
    assert engine.options(local) == OPTIONS
    keeper.keep(local, 2)
    assert engine.options(local) == ConnectionOptions()
    engine.set_options(OPTIONS, local)
    for _ in range(3):
        turn(keeper)
    assert engine.options(local) == OPTIONS
    keeper.close()


def test_patience_with_a_kernel_that_does_not_list_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcpcryptd.netio.clients.option_keeper.reports_bound_sockets", lambda: False)
    monkeypatch.setattr("tcpcryptd.netio.clients.option_keeper.UNSEEN_ROUNDS", 2)
    engine = FakeEngine()
    keeper = OptionKeeper(engine, 0.01, lambda: TcpSockets(frozenset(), frozenset()))
    local = Endpoint("127.0.0.1", 80)
    engine.set_options(OPTIONS, local)
    keeper.keep(local, 1)
    rounds = 0
    while engine.options(local) == OPTIONS:
        turn(keeper)
        rounds += 1
    keeper.close()
    assert rounds == 3


def test_without_a_cookie_the_port_counts() -> None:
    engine = FakeEngine()
    keeper = OptionKeeper(engine, 0.01, lambda: TcpSockets(frozenset(), frozenset((80,))))
    for port in (80, 81):
        engine.set_options(OPTIONS, Endpoint("0.0.0.0", port))
    keeper.keep(Endpoint("0.0.0.0", 80), None)
    for _ in range(2):
        turn(keeper)
    keeper.close()
    assert engine.endpoints_with_options() == [Endpoint("0.0.0.0", 80)]


def test_a_kernel_that_cannot_be_asked(engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> TcpSockets:
        raise OSError(1, "Operation not permitted")

    keeper = OptionKeeper(engine, 0.01, fail)
    local = Endpoint("127.0.0.1", 80)
    engine.set_options(OPTIONS, local)
    keeper.keep(local, 1)
    turn(keeper)
    keeper.close()
    assert engine.options(local) == OPTIONS
    assert "Operation not permitted" in caplog.text


def test_the_list_of_sockets() -> None:
    with socket.socket() as unbound, socket.create_server(("127.0.0.1", 0)) as listener:
        seen = list_tcp_sockets()
        assert cookie(listener) in seen.cookies
        assert listener.getsockname()[1] in seen.ports
        assert cookie(unbound) not in seen.cookies
