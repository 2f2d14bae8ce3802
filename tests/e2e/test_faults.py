"""What docs/faults.md says of each fault."""

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP

from tcpcryptd.control.errors import ControlError
from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FLUSH,
    MARKER,
    Host,
    Network,
    assert_session,
    assert_works,
    echo_server,
    read_exactly,
    same_session,
    serve,
    wait_until,
)
from tests.e2e.harness.daemon import Daemon
from tests.e2e.harness.process import HarnessError, run
from tests.e2e.harness.users import NOBODY
from tests.e2e.test_lifecycle import Transfer, stalled, transfer

__all__ = ["transfer"]

QUEUE_LENGTH = 4096
MANY = 5000
"""Connections, far more than there is room for."""


@BOTH_PROTOCOLS
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_stopped_daemon_delays(encrypted: Network, transfer: Transfer, side: str) -> None:
    host = encrypted.client if side == "client" else encrypted.server
    capture = encrypted.client.capture()
    host.daemons[0].pause()
    wait_until(lambda: stalled(encrypted.client), "the kernel has retransmitted")
    with encrypted.server.listen(0) as listener:
        late: list[socket.socket] = []
        port = listener.getsockname()[1]
        opener = threading.Thread(target=lambda: late.append(encrypted.client.connect(encrypted.server.ipv4, port)))
        opener.start()
        host.daemons[0].resume()
        transfer.wait_moving()
        accepted, _ = listener.accept()
        opener.join()
        with accepted, late[0] as client:
            client.sendall(MARKER)
            assert read_exactly(accepted, len(MARKER)) == MARKER
            same_session(encrypted, client)
    transfer.stop()
    assert not capture.stop().contains(MARKER)
    assert transfer.arrived_unchanged()


def flood(network: Network) -> None:
    """More segments of no connection than the server's queue and its socket hold, from the client's raw socket."""
    packet = bytes(
        IP(src=network.client.ipv4, dst=network.server.ipv4) / TCP(sport=9, dport=9, flags="A") / bytes(1400)
    )
    with network.client.namespace.entered():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with raw:
        for _ in range(2 * QUEUE_LENGTH):
            raw.sendto(packet, (network.server.ipv4, 0))


@BOTH_PROTOCOLS
def test_an_overflowing_queue_drops_and_counts(network: Network, protocol: str) -> None:
    host = network.server
    daemon = host.start_daemon()
    daemon.pause()
    flood(network)
    daemon.resume()
    wait_until(lambda: host.counters()["queue_dropped"] > 0, "drops are counted")
    network.client.start_daemon("--protocol", protocol)
    assert_works(network, protocol)
    assert "Traceback" not in daemon.log()


@BOTH_PROTOCOLS
@pytest.mark.parametrize("side", ["client", "server"])
def test_interface_down_and_up(encrypted: Network, transfer: Transfer, side: str) -> None:
    host, other = encrypted.hosts() if side == "client" else reversed(encrypted.hosts())
    # On a host whose interface goes down, tcpdump ends.
    capture = other.capture()
    host.run(["ip", "link", "set", "eth0", "down"])
    wait_until(lambda: stalled(encrypted.client), "the kernel has retransmitted")
    host.run(["ip", "link", "set", "eth0", "up"])
    wait_until(lambda: "LOWER_UP" in encrypted.client.run(["ip", "link", "show", "eth0"]).stdout, "the link is up")
    transfer.wait_moving()
    transfer.stop()
    assert not capture.stop().contains(MARKER)
    assert transfer.arrived_unchanged()
    assert_session(encrypted)


STDERR = {
    "full": 'exec "$@" 2>/dev/full',
    "closed": 'exec "$@" 2>&-',
    "all closed": 'exec "$@" <&- >&- 2>&-',
    # It has a reader, which reads nothing: the daemon itself.
    "full pipe": 'mkfifo "$0" && exec 2<>"$0" && head -c 65536 /dev/zero >&2 && exec "$@"',
}


@BOTH_PROTOCOLS
@pytest.mark.parametrize("stderr", STDERR)
def test_a_log_that_cannot_be_written(network: Network, directory: Path, stderr: str, protocol: str) -> None:
    before = network.client.rules()
    wrapper = ["sh", "-c", STDERR[stderr], str(directory / "log")]
    daemon = network.client.start_wrapped_daemon(wrapper, "--verbose", "--protocol", protocol)
    network.server.start_daemon()
    assert_works(network, protocol)
    assert daemon.running()
    assert daemon.stop() == 0
    assert network.client.rules() == before


FULL = 'mkdir -p "$0" && mount -t tmpfs -o size=8k,mode=755 none "$0" && head -c 9000 /dev/zero >"$0/x"; exec "$@"'
READ_ONLY = 'mkdir -p "$0" && mount -t tmpfs -o ro none "$0" && exec "$@"'


@pytest.mark.parametrize("trouble", [FULL, READ_ONLY], ids=["full", "read only"])
def test_a_run_directory_that_cannot_be_written(host: Host, trouble: str) -> None:
    before = host.rules()
    place = "/run/trouble"
    daemon = host.launch_wrapped_daemon(["sh", "-c", trouble, place], "--runtime-directory", f"{place}/tcpcryptd")
    assert daemon.wait() == 1
    assert place in daemon.log() or "connection tracking cannot be set" in daemon.log()
    assert "error: " in daemon.log()
    assert host.rules() == before


@pytest.fixture
def small_place(network: Network) -> Iterator[Path]:
    """The client's run directory, a file system of 64 KiB."""
    place = network.client.namespace.run_directory
    run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "none", str(place)])
    yield place
    run(["umount", "--lazy", str(place)])


@BOTH_PROTOCOLS
@pytest.mark.parametrize("trouble", ["full", "read only"])
def test_a_run_directory_that_cannot_be_written_later(
    network: Network, small_place: Path, trouble: str, protocol: str
) -> None:
    host = network.client
    before = host.rules()
    daemon = host.start_daemon("--protocol", protocol)
    network.server.start_daemon()
    if trouble == "full":
        with pytest.raises(OSError, match="No space"):
            (small_place / "x").write_bytes(bytes(100_000))
    else:
        run(["mount", "-o", "remount,ro", str(small_place)])
    assert_works(network, protocol)
    host.run(FLUSH)
    wait_until(lambda: host.counters()["rules_repaired"] > 0, "the rules are back")
    assert_works(network, protocol)
    assert daemon.stop() == 0
    assert host.rules() == before


def connected(client: socket.socket, path: str) -> bool:
    try:
        client.connect(path)
    except BlockingIOError:
        # Too many wait to be accepted.
        return False
    return True


@pytest.fixture
def pests(encrypted: Network) -> Iterator[list[socket.socket]]:
    """Control clients that send requests and read no answers, or send what is none, or nothing."""
    path = str(encrypted.client.control_socket)
    request = b'{"version": 1, "id": 1, "command": "sessions", "arguments": {"all": true}}\n'
    clients = []
    for number in range(200):
        client = socket.socket(socket.AF_UNIX)
        clients.append(client)
        client.setblocking(False)
        wait_until(partial(connected, client, path), "there is room for one more")
        what = (request * 2000, b"x" * 100_000, b'{"version"', b"")[number % 4]
        if what:
            try:
                client.send(what)
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                continue
    yield clients
    for client in clients:
        client.close()


@BOTH_PROTOCOLS
def test_control_clients_that_hang_or_flood(encrypted: Network, pests: list[socket.socket], protocol: str) -> None:
    assert len(pests) == 200
    # Within what tcnetstat waits, and longer where processors are slow.
    assert encrypted.client.daemon_answers()
    assert_works(encrypted, protocol)
    assert encrypted.client.counters()["encrypted"] >= 0
    descriptors = os.listdir(f"/proc/{encrypted.client.daemons[0].pid}/fd")
    assert len(descriptors) < 150


def limit_memory(host: Host, daemon: Daemon, size: str) -> None:
    # By the daemon's own user: root would need CAP_SYS_RESOURCE.
    host.run([*NOBODY, "prlimit", f"--pid={daemon.pid}", f"--as={size}:"])


def is_short(host: Host) -> bool:
    """Whether the daemon lacks memory: it may not even have it for an answer."""
    try:
        found = host.counters()
    except (OSError, ControlError):
        return True
    return found["memory_shortages"] + found["queue_exceptions"] > 0


@BOTH_PROTOCOLS
def test_out_of_memory(network: Network, protocol: str) -> None:
    host = network.client
    daemon = host.start_daemon("--user", "nobody", "--workers", "1", "--protocol", protocol)
    network.server.start_daemon()
    assert_works(network, protocol)
    limit_memory(host, daemon, str(int(daemon.status()["VmSize"].split()[0]) * 1024))
    capture = host.capture()
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serve(network.server.listen(0), echo_server))
        for _ in range(MANY):
            try:
                client = stack.enter_context(host.connect(network.server.ipv4, port, 1.0))
                client.sendall(MARKER)
            except (TimeoutError, ConnectionError):
                if not daemon.running() or is_short(host):
                    break
    with contextlib.suppress(HarnessError):
        limit_memory(host, daemon, "unlimited")
    # The process may be about to end.
    wait_until(lambda: not daemon.running() or host.daemon_answers(), "the daemon answers, or has ended")
    if daemon.running():
        found = host.counters()
        assert found["memory_shortages"] + found["queue_exceptions"] > 0
        assert daemon.log().count("out of memory") <= 1
        assert "bug" not in daemon.log()
    else:
        # Compiled code cannot raise wherever a number has no memory, nor can Rust: the process ends then.
        assert re.search("fatal: out of memory|memory allocation of [0-9]+ bytes failed", daemon.log())
        daemon = host.start_daemon("--protocol", protocol)
    assert_works(network, protocol)
    assert not capture.stop().contains(MARKER)
    assert daemon.stop() == 0
