"""A host: a namespace with addresses, a daemon, captures, and sockets for the test to use."""

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tcpcryptd.control.client import ControlClient
from tests.e2e.harness.capture import Capture
from tests.e2e.harness.daemon import FIREWALL, Daemon, entry_point
from tests.e2e.harness.namespace import Namespace
from tests.e2e.harness.process import PATIENCE, wait_until

SOCKET_SECONDS = 30.0 * PATIENCE
CONTROL_SECONDS = 5.0 * PATIENCE
QUEUE_COUNTERS = "/proc/net/netfilter/nfnetlink_queue"


@dataclass(frozen=True)
class Session:
    """A line of tcnetstat: the two ends as (address, port) and the session ID in hexadecimal."""

    local: tuple[str, int]
    remote: tuple[str, int]
    session_id: str


@dataclass
class Host:
    """A host on the test network; `ipv4` and `ipv6` are its addresses towards the peer."""

    namespace: Namespace
    directory: Path
    ipv4: str
    ipv6: str
    daemons: list[Daemon] = field(default_factory=list)
    captures: int = 0

    def run(self, command: Sequence[str], *, check: bool = True, timeout: float = 60.0) -> CompletedProcess[str]:
        """Runs a command on the host to its end."""
        return self.namespace.run(command, check=check, timeout=timeout)

    def address(self, family: int) -> str:
        """The address of a family (socket.AF_INET, socket.AF_INET6)."""
        return self.ipv4 if family == socket.AF_INET else self.ipv6

    # The daemon

    @property
    def log_file(self) -> Path:
        """The stderr of this host's daemons."""
        return self.directory / "tcpcryptd.log"

    def launch_daemon(self, *options: str) -> Daemon:
        """Starts tcpcryptd and returns at once."""
        daemon = Daemon(self, options, self.log_file)
        self.daemons.append(daemon)
        return daemon

    def launch_wrapped_daemon(self, wrapper: Sequence[str], *options: str) -> Daemon:
        """Starts tcpcryptd by a command that ends by executing its arguments, and returns at once."""
        daemon = Daemon(self, options, self.log_file, wrapper)
        self.daemons.append(daemon)
        return daemon

    def start_wrapped_daemon(self, wrapper: Sequence[str], *options: str) -> Daemon:
        """Starts tcpcryptd by such a command; returns when it is ready."""
        daemon = self.launch_wrapped_daemon(wrapper, *options)
        daemon.wait_ready()
        return daemon

    def start_daemon(self, *options: str) -> Daemon:
        """Starts tcpcryptd and returns when it is ready."""
        daemon = self.launch_daemon(*options)
        daemon.wait_ready()
        return daemon

    @property
    def control_socket(self) -> Path:
        """The path of the daemon's control socket."""
        return self.namespace.run_directory / "tcpcryptd/control.sock"

    def counters(self) -> dict[str, int]:
        """The daemon's counters."""
        with ControlClient(self.control_socket, CONTROL_SECONDS) as client:
            return client.counters()

    def daemon_answers(self) -> bool:
        """True when the daemon answers a request, which it does once its rules are in place."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(CONTROL_SECONDS)
            try:
                client.connect(str(self.control_socket))
                client.sendall(b'{"version": 1, "id": 1, "command": "counters"}\n')
                return bool(client.recv(1))
            except OSError:
                return False

    def tcnetstat(self, *options: str, check: bool = True) -> CompletedProcess[str]:
        """Runs tcnetstat on the host."""
        return self.run([*entry_point("tcnetstat"), *options], check=check)

    def report(self, *options: str) -> list[dict[str, Any]]:
        """What `tcnetstat --json` prints, as it is."""
        rows: list[dict[str, Any]] = json.loads(self.tcnetstat("--json", *options).stdout)
        return rows

    def sessions(self) -> list[Session]:
        """The encrypted connections."""
        return [
            Session(
                (row["local"]["address"], row["local"]["port"]),
                (row["remote"]["address"], row["remote"]["port"]),
                row["session_id"],
            )
            for row in self.report()
        ]

    def session_id(self, ours: socket.socket) -> str:
        """The session ID of a connection of this host; waits until it is listed."""
        local, remote = ours.getsockname()[:2], ours.getpeername()[:2]
        found: list[str] = []

        def listed() -> bool:
            found.extend(s.session_id for s in self.sessions() if (s.local, s.remote) == (local, remote))
            return bool(found)

        wait_until(listed, f"{local} to {remote} is a session")
        return found[0]

    def queued_packets(self) -> int:
        """Packets that the kernel has handed to user space through all queues of this host."""
        lines = self.run(["cat", QUEUE_COUNTERS]).stdout.splitlines()
        return sum(int(line.split()[7]) for line in lines)

    def rules(self) -> str:
        """Rules, chains and policies of the host, both families, without counters.

        Built-in chains as they are from the beginning are left out: the first use of a table makes them appear, and
        the nft variant of iptables has no way to take the table away again.
        """
        kept = []
        for tool in ("iptables-save", "ip6tables-save"):
            table = ""
            for line in self.run([tool]).stdout.splitlines():
                if line.startswith("*"):
                    table = line
                elif line.startswith((":", "-")) and " ACCEPT [" not in line:
                    kept.append(f"{tool} {table} {line.split(' [')[0]}")
        # Without the table, or a kernel that has such, nothing is printed.
        ours = self.run(["nft", "list", "table", "inet", "tcpcryptd"], check=False).stdout
        kept += (f"nft tcpcryptd {line.strip()}" for line in ours.splitlines())
        return "\n".join(kept)

    def own_rules(self) -> list[str]:
        """Those of tcpcryptd."""
        return sorted(line for line in self.rules().splitlines() if "tcpcryptd" in line.lower())

    def diverts(self) -> bool:
        """Whether rules of tcpcryptd are there."""
        return any("queue" in line.lower() for line in self.own_rules())

    def launch_rules(self, *options: str) -> CompletedProcess[str]:
        """Runs the script for administrators, with the firewall under test."""
        return self.run(["scripts/launch_iptables.sh", "--firewall", FIREWALL, *options])

    # The wire and the applications

    def capture(self, interface: str = "eth0", also: str = "") -> Capture:
        """Starts a capture of TCP, and of what `also` names; it ends with stop() or with the host."""
        self.captures += 1
        return Capture(self, interface, self.directory / f"{interface}-{self.captures}.pcap", also)

    def listen(self, port: int, family: int = socket.AF_INET) -> socket.socket:
        """A listening socket on all addresses of the family; port 0 for any."""
        listener = self.namespace.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        listener.listen(64)
        listener.settimeout(SOCKET_SECONDS)
        return listener

    def connect(
        self, address: str, port: int, seconds: float = SOCKET_SECONDS, source: str | None = None
    ) -> socket.socket:
        """A connected socket; `source`: the address that it has at this end."""
        client = self.namespace.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        client.settimeout(seconds)
        try:
            if source is not None:
                client.bind((source, 0))
            client.connect((address, port))
        except BaseException:
            client.close()
            raise
        return client

    def wait_listening(self, port: int) -> None:
        """Returns when a process of the host listens on the TCP port."""
        wait_until(lambda: self.run(["ss", "-Hltn", f"sport = :{port}"]).stdout, f"port {port} is listened on")
