"""An encrypted connection between two daemons in namespaces of their own, watched on its wire."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tcpcryptd
from tcpcryptd.control.client import ControlClient
from tcpcryptd.control.errors import ControlError
from tcpcryptd.netio.doctor.finding import Finding
from tcpcryptd.netio.doctor.namespace import Namespace, poll_until, remove_leftovers
from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.records.connection_info import ConnectionInfo

_ADDRESSES = "192.0.2.1", "192.0.2.2"
_PORT = 7069
_TEXT = b"this must not be seen on the wire; " * 200
_START_SECONDS = 60.0
"""On a host that is busy or slow; a daemon that fails ends sooner."""
_TRANSFER_SECONDS = 15.0
_ALL_FRAMES = 3
"""ETH_P_ALL."""
_FRAME_BYTES = 1 << 16
_LOG_BYTES = 2000
_REPORT = "report it with the output of this command"


class SelfTest:
    """One run. Nothing of it is left afterwards, and nothing outside of the two namespaces is touched."""

    def __init__(self, protocol: str) -> None:
        """`protocol`: what the one daemon offers and the other answers, as `--protocol` takes it."""
        self._protocol = protocol
        self._subject = f"self-test {protocol}"
        self._stack = contextlib.ExitStack()

    def run(self) -> Finding:
        """Returns the result; raises only KeyboardInterrupt and SystemExit, after cleaning up."""
        if os.geteuid() != 0:
            return Finding.problem(self._subject, "not run: it makes network namespaces", "run it as root")
        started = time.monotonic()
        try:
            with self._stack:
                remove_leftovers()
                return self._try(started)
        except (DaemonError, ControlError, OSError) as error:
            message = error.message if isinstance(error, DaemonError) else f"{error}"
            return Finding.problem(self._subject, message, f"look at the findings above; if they are ok, {_REPORT}")

    def _try(self, started: float) -> Finding:
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tcpcryptd-doctor-")))
        # The daemon's user has to get there.
        directory.chmod(0o755)
        hosts = self._make_hosts()
        runtime = [directory / str(number) for number in range(len(hosts))]
        daemons = [self._start_daemon(host, place) for host, place in zip(hosts, runtime, strict=True)]
        for daemon, place in zip(daemons, runtime, strict=True):
            _wait_until_ready(daemon, place)
        wire = self._stack.enter_context(hosts[0].socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_FRAMES)))
        wire.setblocking(False)
        records = self._converse(hosts, runtime)
        if _saw(wire, _TEXT[:100]):
            return Finding.problem(self._subject, "the text was seen on the wire", _REPORT)
        milliseconds = (time.monotonic() - started) * 1000
        return Finding.ok(
            self._subject, f"two daemons encrypted a connection with {records[0].suite} ({milliseconds:.0f} ms)"
        )

    def _make_hosts(self) -> list[Namespace]:
        hosts = []
        for label in ("a", "b"):
            host = Namespace(label)
            self._stack.callback(host.close)
            host.open()
            hosts.append(host)
        hosts[0].ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", hosts[1].name)
        for host, address in zip(hosts, _ADDRESSES, strict=True):
            host.ip("address", "add", f"{address}/24", "dev", "eth0")
            host.ip("link", "set", "eth0", "up")
        return hosts

    def _start_daemon(self, host: Namespace, runtime: Path) -> subprocess.Popen[bytes]:
        package = Path(tcpcryptd.__file__).parents[1]
        program = [sys.executable, "-P", "-m", "tcpcryptd.cli.tcpcryptd"]
        command = [*program, "--runtime-directory", str(runtime), "--protocol", self._protocol]
        return host.spawn(command, {"PYTHONPATH": str(package)}, runtime.with_suffix(".log"))

    def _converse(self, hosts: list[Namespace], runtime: list[Path]) -> list[ConnectionInfo]:
        listener = self._stack.enter_context(hosts[1].socket(socket.AF_INET, socket.SOCK_STREAM))
        client = self._stack.enter_context(hosts[0].socket(socket.AF_INET, socket.SOCK_STREAM))
        for each in (listener, client):
            each.settimeout(_TRANSFER_SECONDS)
        listener.bind((_ADDRESSES[1], _PORT))
        listener.listen(1)
        client.connect((_ADDRESSES[1], _PORT))
        server = self._stack.enter_context(listener.accept()[0])
        server.settimeout(_TRANSFER_SECONDS)
        for sender, receiver in ((client, server), (server, client)):
            # Less than the kernel's buffers hold: it is sent before anybody reads.
            sender.sendall(_TEXT)
            if _read(receiver, len(_TEXT)) != _TEXT:
                raise DaemonError(f"what arrived is not what was sent; {_REPORT}")
        records = [_session(place) for place in runtime]
        if records[0].session_id != records[1].session_id:
            raise DaemonError(f"the two daemons have different sessions; {_REPORT}")
        return records


def _wait_until_ready(daemon: subprocess.Popen[bytes], runtime: Path) -> None:
    """Raises DaemonError with the end of the daemon's log when it ends or does not answer."""
    for _ in poll_until(time.monotonic() + _START_SECONDS):
        with contextlib.suppress(ControlError), ControlClient(runtime / "control.sock") as client:
            client.counters()
            return
        if daemon.poll() is not None:
            break
    log = runtime.with_suffix(".log").read_text(errors="replace")[-_LOG_BYTES:]
    raise DaemonError(f"a daemon did not start: {' '.join(log.split()) or 'it printed nothing'}")


def _session(runtime: Path) -> ConnectionInfo:
    with ControlClient(runtime / "control.sock") as client:
        found = [record for record in client.sessions() if record.session_id]
    if len(found) != 1:
        raise DaemonError(f"the connection was not encrypted; {_REPORT}")
    return found[0]


def _read(receiver: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := receiver.recv(size - len(data))):
        data += piece
    return data


def _saw(wire: socket.socket, text: bytes) -> bool:
    """Whether a frame holds the text; raises DaemonError when no frame was seen at all."""
    frames = []
    with contextlib.suppress(BlockingIOError):
        while True:
            frames.append(wire.recv(_FRAME_BYTES))
    if not frames:
        raise DaemonError("nothing was seen on the wire")
    return any(text in frame for frame in frames)
