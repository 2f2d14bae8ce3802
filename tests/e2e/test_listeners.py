"""However a daemon ends: each socket that listens and each plain connection, on both hosts, is as it was before."""

import contextlib
import os
import signal
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio.firewall.encrypted_sockets import end_encrypted_sockets
from tcpcryptd.netio.marks import MarkScheme
from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FLUSH,
    MARKER,
    Host,
    Network,
    divert_as,
    echo_server,
    exchange,
    read_exactly,
    same_session,
    serve,
    wait_until,
)
from tests.e2e.harness.daemon import entry_point
from tests.e2e.harness.host import SOCKET_SECONDS
from tests.e2e.test_service import hang_up
from tests.e2e.test_workers import wait_replaced, workers_of

CLOSE, LISTEN = 7, 10
"""linux/tcp_states.h."""
SSH = 22
WORKERS = 2


def state(of: socket.socket) -> int:
    return of.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def is_closed(connection: socket.socket) -> bool:
    return state(connection) == CLOSE


class Services:
    """Sockets of every kind that listen on a host, and echo."""

    def __init__(self, stack: contextlib.ExitStack, host: Host) -> None:
        self._stack = stack
        self._host = host
        self._listeners: list[socket.socket] = []
        one_port = socket.SO_REUSEPORT, 1
        shared = self.listen("0.0.0.0", 0, one_port)
        on_wire = socket.SO_BINDTODEVICE, b"eth0"
        self._ends = [
            (host.ipv4, self.listen("0.0.0.0", SSH)),
            (host.ipv4, self.listen("0.0.0.0")),
            (host.ipv4, self.listen(host.ipv4)),
            (host.ipv4, self.listen("0.0.0.0", 0, on_wire)),
            (host.ipv4, shared),
            (host.ipv4, self.listen("0.0.0.0", shared, one_port)),
            (host.ipv6, self.listen("::")),
            (host.ipv4, self.listen("::")),
            (host.ipv6, self.listen(host.ipv6)),
        ]

    def listen(self, address: str, port: int = 0, *options: tuple[int, int | bytes]) -> int:
        """The port."""
        listener = self._host.namespace.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        for name, value in ((socket.SO_REUSEADDR, 1), *options):
            listener.setsockopt(socket.SOL_SOCKET, name, value)
        listener.bind((address, port))
        listener.listen()
        listener.settimeout(SOCKET_SECONDS)
        self._listeners.append(listener)
        return self._stack.enter_context(serve(listener, echo_server))

    def use(self, peer: Host) -> list[int]:
        """Talks to each of them from the other host, and closes; the ports there."""
        ports: list[int] = []
        for end in self._ends:
            wait_until(partial(self._talk, peer, end, ports), f"{end} answers")
        return ports

    def _talk(self, peer: Host, end: tuple[str, int], ports: list[int]) -> bool:
        """False: reset, as connections are that are opened while the rules are put back."""
        with contextlib.suppress(ConnectionError), self._connect(peer, end) as client:
            client.sendall(MARKER)
            assert read_exactly(client, len(MARKER)) == MARKER
            ports.append(client.getsockname()[1])
            return True
        return False

    def connect(self, peer: Host) -> socket.socket:
        """A connection that lasts."""
        return self._stack.enter_context(self._connect(peer, self._ends[0]))

    @staticmethod
    def _connect(peer: Host, end: tuple[str, int]) -> socket.socket:
        client = peer.namespace.socket(socket.AF_INET6 if ":" in end[0] else socket.AF_INET)
        client.settimeout(SOCKET_SECONDS)
        # Others may listen on its port afterwards.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.connect(end)
        return client

    def check(self, peer: Host) -> None:
        """All listen, and answer."""
        assert {state(each) for each in self._listeners} == {LISTEN}
        self.use(peer)


def stop(host: Host) -> None:
    assert host.daemons[-1].stop() == 0


def interrupt(host: Host) -> None:
    assert host.daemons[-1].stop(signal.SIGINT) == 0


def kill_and_start(host: Host) -> None:
    host.daemons[-1].kill()
    host.start_daemon(*host.daemons[-1].options)


def kill_and_clean_up(host: Host) -> None:
    host.daemons[-1].kill()
    host.run([*entry_point("tcpcryptd"), "--cleanup"])


def flush(host: Host, *command: str) -> None:
    before = host.counters()["rules_repaired"]
    host.run(command)
    wait_until(lambda: host.counters()["rules_repaired"] > before, "the rules are repaired")


def flush_table(host: Host) -> None:
    flush(host, *FLUSH)


def flush_all(host: Host) -> None:
    flush(host, "nft", "flush", "ruleset")


def kill_workers(host: Host) -> None:
    for pid in workers_of(host).values():
        os.kill(pid, signal.SIGKILL)
    wait_replaced(host, WORKERS)


def reload(host: Host) -> None:
    hang_up(host.daemons[-1])


ENDS: list[tuple[Callable[[Host], None], Callable[[Host], None]]] = [
    (reload, reload),
    (kill_workers, kill_workers),
    (flush_table, flush_all),
    (flush_all, flush_table),
    (stop, interrupt),
    (kill_and_start, kill_and_clean_up),
]
"""Of the client's daemon and of the server's; each host has sockets of both roles."""


@BOTH_PROTOCOLS
def test_listeners_and_plain_connections_outlive_the_daemon(network: Network, protocol: str, directory: Path) -> None:
    """Connections that were encrypted and are over stay in connection tracking for minutes, and lead to no listener."""
    (directory / "tcpcryptd.toml").write_text(f'all-ports = true\nworkers = {WORKERS}\nprotocol = "{protocol}"\n')
    options = "--config", str(directory / "tcpcryptd.toml")
    hosts = [(network.client, network.server), (network.server, network.client)]
    with contextlib.ExitStack() as stack:
        services = {host.ipv4: Services(stack, host) for host, _ in hosts}
        plain = [services[host.ipv4].connect(peer) for host, peer in hosts]
        for ends in ENDS:
            for host in network.hosts():
                if not host.daemons or not host.daemons[-1].running():
                    host.launch_daemon(*options)
            for host in network.hosts():
                host.daemons[-1].wait_ready()
            lasting = services[network.server.ipv4].connect(network.client)
            assert exchange(lasting, MARKER) == MARKER
            same_session(network, lasting)
            for host, peer in hosts:
                ours = services[host.ipv4].use(peer)[0]
                # A server that has nothing to do with the connection from the same port.
                services[peer.ipv4].listen("0.0.0.0", ours)
            for host, end in zip(network.hosts(), ends, strict=True):
                end(host)
            for host, peer in hosts:
                services[host.ipv4].check(peer)
            assert all(exchange(each, MARKER) == MARKER for each in plain)
            if reload in ends:
                assert exchange(lasting, MARKER) == MARKER
            else:
                # Some ends leave that to the next segment.
                with contextlib.suppress(ConnectionError):
                    lasting.sendall(MARKER)
                wait_until(partial(is_closed, lasting), "the connection is reset")


MARKS = MarkScheme()
CONNECTIONS = {
    "ipv4": (socket.AF_INET, "127.0.0.1", "127.0.0.1", ()),
    "ipv6": (socket.AF_INET6, "::1", "::1", ()),
    "mapped": (socket.AF_INET6, "::", "::ffff:127.0.0.1", ()),
    "one interface": (socket.AF_INET, "0.0.0.0", "127.0.0.1", ((socket.SO_BINDTODEVICE, b"lo"),)),
}


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_what_the_kernel_is_asked_to_end(host: Host, kind: str) -> None:
    """All that can still send: also what was not accepted, what is half closed, and what tracking takes to be over."""
    family, listen_on, connect_to, options = CONNECTIONS[kind]
    tool = "iptables" if "." in connect_to else "ip6tables"
    divert_as(host, ConnectionClass.ENCRYPTED)
    host.launch_rules("--remove")
    with contextlib.ExitStack() as stack:

        def made() -> socket.socket:
            new = stack.enter_context(host.namespace.socket(family))
            new.settimeout(SOCKET_SECONDS)
            for name, value in options:
                new.setsockopt(socket.SOL_SOCKET, name, value)
            return new

        def connected() -> socket.socket:
            client = made()
            client.connect((connect_to, port))
            return client

        listener = made()
        listener.bind((listen_on, 0))
        listener.listen()
        port = listener.getsockname()[1]

        def pair() -> tuple[socket.socket, socket.socket]:
            client = connected()
            return client, stack.enter_context(listener.accept()[0])

        open_ends = [*pair()]
        client, server = pair()
        client.close()
        open_ends.append(server)
        for each in pair():
            each.close()
        client, server = pair()
        # A reset that tracking believes and the kernel does not obey.
        host.run([tool, "-A", "INPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP"])
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        open_ends.append(client)
        not_accepted = connected()
        host.run([tool, "-A", "INPUT", "-p", "tcp", "--tcp-flags", "SYN,ACK", "SYN,ACK", "-j", "DROP"])
        opening = made()
        opening.setblocking(False)
        opening.connect_ex((connect_to, port))
        open_ends += [not_accepted, opening]
        with host.namespace.entered():
            # The last two have ends that no application has seen.
            assert end_encrypted_sockets(MARKS) == len(open_ends) + 2
            assert end_encrypted_sockets(MARKS) == 0
        assert {state(each) for each in open_ends} == {CLOSE}
        assert state(listener) == LISTEN
        host.run([tool, "-F", "INPUT"])
        connected()
