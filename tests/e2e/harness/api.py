"""The application interface, for the sockets of hosts."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from tcpcryptd import sockopt
from tcpcryptd.sockopt import SocketOption
from tests.e2e.harness.host import Host
from tests.e2e.harness.network import Network

At = Callable[[Host], None]
Pair = tuple[socket.socket, socket.socket]
Options = dict[SocketOption, object]


class Api:
    """getsockopt and setsockopt for the sockets of two hosts."""

    def __init__(self, network: Network, at: At) -> None:
        self.network = network
        self.at = at

    def get(self, host: Host, sock: socket.socket, option: SocketOption) -> object:
        self.at(host)
        return sockopt.getsockopt(sock, option)

    def set(self, host: Host, sock: socket.socket, option: SocketOption, value: object = 1) -> None:
        self.at(host)
        sockopt.setsockopt(sock, option, value)  # type: ignore[arg-type]

    def info(self, host: Host, sock: socket.socket) -> sockopt.Info:
        self.at(host)
        return sockopt.info(sock)

    @contextlib.contextmanager
    def connection(
        self,
        client: Options | None = None,
        server: Options | None = None,
        family: int = socket.AF_INET,
    ) -> Iterator[Pair]:
        """A connection whose client and whose listener had options set before."""
        network = self.network
        with network.server.listen(0, family) as listener, network.client.namespace.socket(family) as ours:
            ours.settimeout(30)
            for option, value in (server or {}).items():
                self.set(network.server, listener, option, value)
            for option, value in (client or {}).items():
                self.set(network.client, ours, option, value)
            ours.connect((network.server.address(family), listener.getsockname()[1]))
            theirs, _ = listener.accept()
            with theirs:
                theirs.settimeout(30)
                yield ours, theirs


def talk(ours: socket.socket, theirs: socket.socket) -> None:
    """Afterwards both daemons have had an authentic segment, which lets them keep the session."""
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        sender.sendall(b"x")
        assert receiver.recv(1) == b"x"


def error_of(action: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as raised:  # noqa: PT011 (the errno is what is looked at)
        action()
    return raised.value.errno
