"""Whether a daemon runs, its state, and which other program has what it needs."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

from tcpcryptd.control.client import ControlClient
from tcpcryptd.control.errors import ControlError, DaemonNotRunning
from tcpcryptd.netio.daemon import DaemonConfig
from tcpcryptd.netio.doctor.finding import Finding
from tcpcryptd.netio.errors import PrivilegeError
from tcpcryptd.netio.kernel.queue_statistics import read_queue_statistics
from tcpcryptd.netio.process.privileges import Account
from tcpcryptd.wire.build import description

_SUSPICIOUS = {
    "queue_dropped": "packets were dropped because a queue was full: the daemon is too slow for this host",
    "queue_exceptions": "packets raised an exception: please report it with the log",
    "undeliverable": "connections were left plain or reset, because this host drops packets that the daemon sends",
    "internal_errors": "bugs were met: please report them with the log",
    "worker_restarts": "times a worker died and was replaced: please report it with the log",
    "rules_repaired": "times somebody removed the daemon's rules: find out who, and have it leave them alone",
    "offload_errors": "packets were dropped, because a flowtable could have offloaded their connection: see the log",
    "rules_not_repaired": "times the daemon's rules could not be put back: see its log",
}


def read_counters(path: Path) -> dict[str, int] | None:
    """The running daemon's counters; None when none runs. Raises ControlError when one does not answer."""
    try:
        with ControlClient(path) as client:
            return client.counters()
    except DaemonNotRunning:
        return None


def check_daemon(path: Path) -> Iterator[Finding]:
    """The running daemon, by its control socket."""
    try:
        counters = read_counters(path)
    except ControlError as error:
        yield Finding.problem("daemon", f"does not answer: {error}", "look at its log, and restart it")
        return
    if counters is None:
        yield Finding.ok("daemon", f"not running; this one is {description()}")
        return
    yield Finding.ok("daemon", f"running, {counters.get('encrypted', 0)} connections encrypted")
    if not counters.get("compiled", 1):
        yield Finding.warning(
            "daemon",
            "its packet path is interpreted: each packet takes about twice the time",
            "install a C compiler and Python's headers, and build it again (`tcpcryptd --version` says how it was)",
        )
    for name, meaning in _SUSPICIOUS.items():
        if counters.get(name):
            yield Finding.warning("daemon", f"{name} is {counters[name]}", f"{counters[name]} {meaning}")
    hosts = counters.get("black_hole_hosts", 0)
    if hosts:
        yield Finding.warning(
            "path",
            f"SYNs with TCP option 69 get no answer from {hosts} hosts, and those without do",
            "have the firewall that drops them pass them; tcnetstat --all names the connections, which are plain",
        )


def check_queues(config: DaemonConfig, running: bool) -> Iterator[Finding]:
    """Whether the queues are free, or the running daemon's."""
    numbers = config.queues.all
    try:
        bound = read_queue_statistics()
    except OSError as error:
        yield Finding.warning("queues", f"cannot be read: {error.strerror}", "run it as root")
        return
    taken = [bound[number] for number in numbers if number in bound]
    if taken and not running:
        owners = ", ".join(f"queue {each.number} by netlink port {each.port_id}" for each in taken)
        yield Finding.problem(
            "queues",
            f"taken: {owners} (usually the process ID), and no tcpcryptd answers",
            "stop that program, or choose other queues with --queue; if it is tcpcryptd, name its --runtime-directory",
        )
    elif running and len(taken) < len(numbers):
        yield Finding.problem("queues", "the running daemon has other queues", "name them with --queue and --workers")
    else:
        state = "the daemon's" if running else "free"
        yield Finding.ok("queues", f"{config.queues} are {state}")


def check_port(port: int, running: bool) -> Iterator[Finding]:
    """The UDP port for programs that use libtcpcrypt."""
    subject = "libtcpcrypt port"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if not (running and error.errno == errno.EADDRINUSE):
                yield Finding.problem(
                    subject, f"{port}: {error.strerror}", "stop the program that has it, or choose another port"
                )
                return
    yield Finding.ok(subject, str(port))


def check_user(name: str | None) -> Iterator[Finding]:
    """Checks the user that the daemon runs as."""
    try:
        account = Account.find(name)
    except PrivilegeError as error:
        yield Finding.problem("user", error.message, "useradd --system --no-create-home tcpcryptd")
        return
    if name is None and account.name == "nobody":
        yield Finding.warning(
            "user",
            "tcpcryptd will run as nobody, as other programs may do, too",
            "useradd --system --no-create-home --shell /usr/sbin/nologin tcpcryptd",
        )
    else:
        yield Finding.ok("user", account.name)
