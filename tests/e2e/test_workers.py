"""Several workers: connections spread over them, questions answered for all, and what happens when one dies."""

import contextlib
import errno
import os
import re
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tcpcryptd import sockopt
from tcpcryptd.control.client import ControlClient
from tcpcryptd.control.errors import RequestRefused
from tcpcryptd.netio.queue_numbers import DEFAULT_QUEUE
from tcpcryptd.records.address import Address
from tcpcryptd.sockopt import SocketOption
from tests.e2e.harness import FLUSH, MARKER, Host, Network, echo_server, exchange, same_session, serve, wait_until
from tests.e2e.harness.daemon import entry_point
from tests.e2e.harness.process import run
from tests.e2e.harness.traffic import ENDED_HERE
from tests.e2e.test_service import WATCHDOG_SECONDS, Manager, manager

__all__ = ["manager"]

WORKERS = 2
ORIGINAL_SUITE = "RSA-2048/AES128-CTR-SEQIV/HMAC-SHA1"
PAIRS = 16
"""That all of them have the same worker happens once in 32,768 runs."""
QUEUES = "/proc/net/netfilter/nfnetlink_queue"
BOTH_PROTOCOLS = pytest.mark.parametrize("protocol", ["crypt", "eno"])


def workers_of(host: Host) -> dict[int, int]:
    """The process ID of each worker, by its number, of those that are alive, whatever has become of the daemon."""
    found = {}
    for pid in run(["ip", "netns", "pids", host.namespace.name]).stdout.split():
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if name.startswith("tcpcryptd/"):
                found[int(name.partition("/")[2])] = int(pid)
    return found


def fork_server_of(host: Host) -> int:
    """The process that forks the workers."""
    (parent,) = {
        int(parent)
        for pid in workers_of(host).values()
        for parent in re.findall(r"^PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    }
    return parent


def metric(host: Host, name: str) -> int:
    """A sample of `tcnetstat --metrics`, with its labels as they are printed."""
    (value,) = re.findall(rf"^tcpcryptd_{re.escape(name)} (\d+)$", host.tcnetstat("--metrics").stdout, re.MULTILINE)
    return int(value)


def wait_replaced(host: Host, restarts: int) -> None:
    """Returns when workers died so many times and all are at work."""
    wait_until(
        lambda: metric(host, "worker_restarts_total") == restarts and host.tcnetstat(check=False).returncode == 0,
        f"{restarts} workers are replaced",
    )


def undecided_packets(host: Host) -> list[int]:
    """What has passed through the queues for new connections, by worker."""
    rows = [[int(field) for field in line.split()] for line in host.run(["cat", QUEUES]).stdout.splitlines()]
    return [row[7] for row in rows if row[0] in range(DEFAULT_QUEUE, DEFAULT_QUEUE + WORKERS)]


@dataclass
class Spread:
    """One connection for each of two workers on both hosts, to an echo server, as the client's sockets."""

    network: Network
    port: int
    connections: list[socket.socket]
    addresses: list[str]
    """Of the server, in the same order."""

    def again(self, worker: int) -> socket.socket:
        """One more connection with the same host."""
        return self.network.client.connect(self.addresses[worker], self.port)


@contextlib.contextmanager
def spread(network: Network, *options: str) -> Iterator[Spread]:
    """Starts both daemons, and finds a pair of addresses for each worker by where its first packet goes."""
    for host in network.hosts():
        host.start_daemon("--workers", str(WORKERS), *options)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serve(network.server.listen(0), echo_server))
        found: dict[int, socket.socket] = {}
        for index in range(PAIRS):
            address = f"10.69.0.{100 + index}"
            network.server.run(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
            before = undecided_packets(network.client)
            connection = stack.enter_context(network.client.connect(address, port))
            assert exchange(connection, MARKER) == MARKER
            after = undecided_packets(network.client)
            (worker,) = (number for number in range(WORKERS) if after[number] > before[number])
            found.setdefault(worker, connection)
        connections = [found[worker] for worker in range(WORKERS)]
        yield Spread(network, port, connections, [connection.getpeername()[0] for connection in connections])


def client_of(host: Host) -> ControlClient:
    return ControlClient(host.control_socket)


@BOTH_PROTOCOLS
def test_sessions_of_all_workers_are_listed_together(network: Network, protocol: str) -> None:
    capture = network.client.capture()
    with spread(network, "--protocol", protocol) as both:
        assert not capture.stop().contains(MARKER)
        for host in network.hosts():
            assert len(host.sessions()) == PAIRS
            assert metric(host, "encrypted_connections") == PAIRS
            assert metric(host, 'handshakes_total{outcome="encrypted"}') == PAIRS
            assert (metric(host, "workers"), metric(host, "worker_restarts_total")) == (WORKERS, 0)
        ids = {same_session(network, connection) for connection in both.connections}
        assert len(ids) == WORKERS
        for worker in range(WORKERS):
            with both.again(worker) as resumed:
                assert exchange(resumed, MARKER) == MARKER
                same_session(network, resumed)
                port = resumed.getsockname()[1]
                assert [row["resumed"] for row in network.client.report() if row["local"]["port"] == port] == [True]


@BOTH_PROTOCOLS
def test_a_session_is_resumed_from_any_address(network: Network, protocol: str) -> None:
    """Whichever workers get it, at either end: another pair of addresses mostly has another one."""
    for host in network.hosts():
        host.start_daemon("--workers", str(WORKERS), "--protocol", protocol)
    resumed, workers = [], set()
    with serve(network.server.listen(0), echo_server) as port:
        for index in range(PAIRS // 2):
            address = f"10.69.0.{200 + index}"
            network.client.run(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
            before = undecided_packets(network.server)
            with network.client.connect(network.server.ipv4, port, source=address) as ours:
                assert exchange(ours, MARKER) == MARKER
                session = same_session(network, ours)
                resumed += [row["resumed"] for row in network.server.report() if row["session_id"] == session]
            after = undecided_packets(network.server)
            workers |= {number for number in range(WORKERS) if after[number] > before[number]}
    assert resumed == [False] + [True] * (PAIRS // 2 - 1)
    assert workers == set(range(WORKERS))


@BOTH_PROTOCOLS
def test_a_killed_worker_is_replaced_and_leaks_nothing(network: Network, protocol: str) -> None:
    with spread(network, "--protocol", protocol) as both:
        capture = network.client.capture()
        before = metric(network.client, 'segments_total{class="undecided"}')
        killed = workers_of(network.client)[0]
        os.kill(killed, signal.SIGKILL)
        stuck, other = both.connections
        with contextlib.suppress(OSError):
            stuck.sendall(MARKER * 10)
        assert exchange(other, MARKER * 10) == MARKER * 10
        wait_replaced(network.client, 1)
        assert workers_of(network.client)[0] != killed
        # Its successor answers what is left of the connection with a reset.
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            stuck.recv(1)
        assert exchange(other, MARKER * 10) == MARKER * 10
        for worker in range(WORKERS):
            with both.again(worker) as new:
                assert exchange(new, MARKER) == MARKER
                same_session(network, new)
        assert not capture.stop().contains(MARKER)
        # Asked for every second.
        counted = 'segments_total{class="undecided"}'
        wait_until(lambda: metric(network.client, counted) > before, "what its successor does is counted")
    assert "worker 0 was killed by signal 9" in network.client.daemons[0].log()


def test_a_worker_that_keeps_dying_ends_the_daemon(network: Network) -> None:
    host = network.client
    rules = host.rules()
    daemon = host.start_daemon("--workers", str(WORKERS))
    killed: set[int] = set()

    def kill_once_more() -> bool:
        pid = workers_of(host).get(1)
        if pid is not None and pid not in killed:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        return not daemon.running()

    wait_until(kill_once_more, "the daemon gives up", 60)
    assert daemon.wait() == 1
    assert "worker 1 was killed by signal 9, the last of 5 times within 60 seconds: giving up" in daemon.log()
    assert host.rules() == rules
    assert workers_of(host) == {}


def test_workers_die_with_the_daemon(network: Network) -> None:
    with spread(network) as both:
        capture = network.client.capture()
        network.client.daemons[0].kill()
        wait_until(lambda: not workers_of(network.client), "all workers are gone")
        for connection in both.connections:
            connection.sendall(MARKER * 10)
        wait_until(lambda: "backoff:" in network.client.run(["ss", "-Htni"]).stdout, "the kernel has retransmitted")
        with both.again(0) as new:
            assert exchange(new, b"new connections work") == b"new connections work"
        assert not capture.stop().contains(MARKER)
        assert network.client.start_daemon("--workers", str(WORKERS)).running()
        for connection in both.connections:
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                connection.recv(1)


def test_nothing_is_left_without_the_process_that_starts_workers(network: Network) -> None:
    host = network.client
    rules = host.rules()
    daemon = host.start_daemon("--workers", str(WORKERS))
    fork_server = fork_server_of(host)
    assert fork_server != daemon.pid
    os.kill(fork_server, signal.SIGKILL)
    assert daemon.wait() == 1
    assert "the process that starts workers has ended" in daemon.log()
    assert (host.rules(), workers_of(host)) == (rules, {})


@BOTH_PROTOCOLS
def test_an_orderly_stop_resets_the_connections_of_all_workers(network: Network, protocol: str) -> None:
    rules = network.client.rules()
    with spread(network, "--protocol", protocol) as both:
        capture = network.client.capture()
        daemon = network.client.daemons[0]
        assert daemon.stop() == 0
        for connection in both.connections:
            with pytest.raises(ENDED_HERE):
                connection.recv(1)
        assert not capture.stop().contains(MARKER)
        assert (network.client.rules(), workers_of(network.client)) == (rules, {})


def test_a_terminal_sends_its_signal_to_all_processes(network: Network) -> None:
    host = network.client
    rules = host.rules()
    daemon = host.start_daemon("--workers", str(WORKERS))
    for pid in (*workers_of(host).values(), daemon.pid):
        os.kill(pid, signal.SIGINT)
    assert daemon.wait() == 0
    assert (host.rules(), workers_of(host)) == (rules, {})


def test_a_stopped_worker_holds_nobody_up(network: Network) -> None:
    with spread(network) as both:
        host = network.client
        # What a worker said last counts while it says nothing.
        wait_until(lambda: metric(host, "encrypted_connections") == PAIRS, "both are counted")
        stopped = workers_of(host)[0]
        os.kill(stopped, signal.SIGSTOP)
        stuck, other = ((Address(*ours.getsockname()), Address(*ours.getpeername())) for ours in both.connections)
        with client_of(host) as client:
            assert client.session(*other).session_id is not None
            for _ in range(3):
                with pytest.raises(RequestRefused) as refused:
                    client.session(*stuck)
                assert refused.value.errno == errno.EAGAIN
            assert client.counters()["encrypted"] == PAIRS
        os.kill(stopped, signal.SIGCONT)
        wait_until(lambda: len(host.sessions()) == PAIRS, "the worker answers again")
        os.kill(stopped, signal.SIGSTOP)
        assert host.daemons[0].stop() == 0
        assert workers_of(host) == {}


def test_the_watchdog_hears_nothing_while_a_worker_hangs(host: Host, manager: Manager) -> None:
    host.start_wrapped_daemon(manager.wrapper(), "--workers", str(WORKERS))
    manager.wait_for("READY=1")
    assert manager.next() == "WATCHDOG=1"
    hung = workers_of(host)[1]
    os.kill(hung, signal.SIGSTOP)
    wait_until(lambda: manager.next(2 * WATCHDOG_SECONDS) is None, "the watchdog hears nothing", 30)
    os.kill(hung, signal.SIGCONT)
    assert manager.next() == "WATCHDOG=1"


def test_socket_options(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    with spread(network) as both:
        host = network.client
        monkeypatch.setenv("TCPCRYPTD_SOCKET", str(host.control_socket))
        for connection in both.connections:
            assert sockopt.info(connection).session_id == bytes.fromhex(host.session_id(connection))
            sockopt.setsockopt(connection, SocketOption.TCP_CRYPT_REKEY, 1)
            assert exchange(connection, MARKER) == MARKER
            sockopt.setsockopt(connection, SocketOption.TCP_CRYPT_SECURST, 1)
            assert sockopt.getsockopt(connection, SocketOption.TCP_CRYPT_SECURST) == 1
        for address in both.addresses:
            assert not encrypted_after_turning_it_off(host, address, both.port)
        # Options outlive the worker that was told of them.
        with host.namespace.socket(socket.AF_INET) as unconnected:
            sockopt.setsockopt(unconnected, SocketOption.TCP_CRYPT_ENABLE, 0)
            killed = workers_of(host)
            for pid in killed.values():
                os.kill(pid, signal.SIGKILL)
            wait_replaced(host, WORKERS)
            assert sockopt.getsockopt(unconnected, SocketOption.TCP_CRYPT_ENABLE) == 0
            unconnected.settimeout(30)
            unconnected.connect((both.addresses[0], both.port))
            assert exchange(unconnected, MARKER) == MARKER
            assert not sockopt.info(unconnected).encrypted


def encrypted_after_turning_it_off(host: Host, address: str, port: int) -> bool:
    """Whether a connection is encrypted whose socket did not want it before it was connected."""
    with host.namespace.socket(socket.AF_INET) as ours:
        ours.settimeout(30)
        sockopt.setsockopt(ours, SocketOption.TCP_CRYPT_ENABLE, 0)
        ours.connect((address, port))
        assert exchange(ours, MARKER) == MARKER
        return sockopt.info(ours).encrypted


def test_a_listening_socket_turns_encryption_off(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    with spread(network) as both, network.server.listen(0) as listener:
        control = network.server.control_socket
        monkeypatch.setenv("TCPCRYPTD_SOCKET", str(control))
        sockopt.setsockopt(listener, SocketOption.TCP_CRYPT_ENABLE, 0)
        port = listener.getsockname()[1]
        for address in both.addresses:
            with network.client.connect(address, port) as ours, listener.accept()[0] as theirs:
                ours.sendall(MARKER)
                assert theirs.recv(len(MARKER)) == MARKER
                assert not sockopt.info(theirs).encrypted


def test_reload_and_flush_reach_all_workers(network: Network, directory: Path) -> None:
    file = directory / "tcpcryptd.toml"
    file.write_text("verbose = true\n")
    with spread(network, "--config", str(file)) as both:
        host = network.client
        file.write_text('suites = ["RSA-2048", "AES128-CTR-SEQIV/HMAC-SHA1"]\n')
        os.kill(host.daemons[0].pid, signal.SIGHUP)
        wait_until(lambda: "changed: suites, verbose" in host.daemons[0].log(), "the configuration is read")
        assert suites_with(both) == {ORIGINAL_SUITE}
        os.kill(workers_of(host)[1], signal.SIGKILL)
        wait_replaced(host, 1)
        assert suites_with(both) == {ORIGINAL_SUITE}
        assert metric(host, "resumable_sessions") >= WORKERS
        host.run([*entry_point("tcpcryptd"), "--flush-cache"])
        assert metric(host, "resumable_sessions") == 0


def suites_with(both: Spread) -> set[str]:
    """The suites of new connections."""
    found = set()
    for worker in range(WORKERS):
        with both.again(worker) as ours:
            assert exchange(ours, MARKER) == MARKER
            port = ours.getsockname()[1]
            found |= {row["suite"] for row in both.network.client.report() if row["local"]["port"] == port}
    return found


def test_the_key_log_has_keys_of_all_workers(network: Network, directory: Path) -> None:
    file = directory / "keys"
    with spread(network, "--keylog", str(file)):
        assert metric(network.client, 'events_total{event="keylog_on"}') == 1
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        # Both hosts write to it here.
        assert len(lines) == 2 * metric(network.client, 'events_total{event="keylog_lines"}') >= 2 * PAIRS


def test_the_rule_watch_reaches_all_workers(network: Network) -> None:
    with spread(network) as both:
        capture = network.client.capture()
        network.client.run(FLUSH)
        for connection in both.connections:
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                connection.recv(1)
        wait_until(lambda: metric(network.client, "rules_repaired_total") == 1, "the rules are back")
        for worker in range(WORKERS):
            with both.again(worker) as new:
                assert exchange(new, MARKER) == MARKER
                same_session(network, new)
        assert not capture.stop().contains(MARKER)


def test_workers_are_as_unprivileged_as_the_daemon(network: Network) -> None:
    daemon = network.client.start_daemon("--workers", str(WORKERS))
    processes = [daemon.pid, fork_server_of(network.client), *workers_of(network.client).values()]
    assert len(set(processes)) == 2 + WORKERS
    status = [Path(f"/proc/{pid}/status").read_text() for pid in processes]
    for name in ("Uid", "Gid", "Groups", "NoNewPrivs", "CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb"):
        assert len({re.findall(rf"^{name}:.*", each, re.MULTILINE)[0] for each in status}) == 1
    for pid in processes:
        # Only root may look into a process that is not dumpable.
        assert Path(f"/proc/{pid}/mem").stat().st_uid == 0
        assert "Max core file size        0 " in Path(f"/proc/{pid}/limits").read_text()
