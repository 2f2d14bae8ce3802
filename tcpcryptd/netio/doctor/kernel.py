"""The abilities of the kernel and of the process."""

import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from tcpcryptd.netio.doctor.finding import AS_ROOT, Finding
from tcpcryptd.netio.firewall.conntrack_settings import SETTINGS_DIRECTORY
from tcpcryptd.netio.kernel import capabilities
from tcpcryptd.netio.kernel.queue_statistics import QUEUES_FILE
from tcpcryptd.netio.kernel.sock_diag import can_destroy
from tcpcryptd.netio.packets.queue import SOCKET_BUFFER
from tcpcryptd.netio.process.memory import can_lock_memory

_NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8}
_NETWORK_SETTINGS = Path("/proc/sys/net")
_SO_RCVBUFFORCE = 33
_KERNEL_DOUBLES = 2
"""The kernel reports twice what it was asked for: it counts its own bookkeeping."""
_FULL = 0.9
_NETLINK_NETFILTER = 12
_EMPTY_CONFIGURATION = struct.pack("=IHHIIBBH", 20, 3 << 8 | 2, 1, 0, 0, 0, 0, 0)
"""NFQNL_MSG_CONFIG for queue 0 that changes nothing: the kernel loads the module of NFQUEUE, where it is one."""


def check_capabilities() -> Iterator[Finding]:
    """Whether the daemon could be started from here."""
    have = capabilities.effective()
    missing = [name for name, number in _NEEDED.items() if not have >> number & 1]
    if missing:
        yield Finding.problem("capabilities", f"missing: {', '.join(missing)}", AS_ROOT)
    else:
        yield Finding.ok("capabilities", "everything that the start needs")
    if can_lock_memory():
        yield Finding.ok("locked memory", "allowed")
    else:
        yield Finding.warning(
            "locked memory",
            "neither RLIMIT_MEMLOCK nor CAP_SYS_RESOURCE allows it: keys can reach swap",
            "ulimit -H -l unlimited, or LimitMEMLOCK=infinity with systemd; or use encrypted swap, or none",
        )


def check_queue() -> Iterator[Finding]:
    """NFQUEUE, and how much its socket can hold."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
            kernel.send(_EMPTY_CONFIGURATION)
            present = QUEUES_FILE.exists()
    except OSError:
        present = False
    if not present:
        # The kernel loads its modules for those who may use them.
        allowed = capabilities.has_network_capabilities()
        yield Finding.problem(
            "NFQUEUE",
            f"{QUEUES_FILE} is missing",
            "modprobe nfnetlink_queue, or a kernel with CONFIG_NETFILTER_NETLINK_QUEUE" if allowed else AS_ROOT,
        )
        return
    yield Finding.ok("NFQUEUE", "the kernel has it")
    given = _buffer_given(SOCKET_BUFFER)
    if given < SOCKET_BUFFER:
        yield Finding.warning(
            "buffers",
            f"a queue's socket gets {given} bytes of the {SOCKET_BUFFER} that it asks for: bursts are dropped",
            f"sysctl -w net.core.rmem_max={SOCKET_BUFFER} net.core.wmem_max={SOCKET_BUFFER}",
        )
    else:
        yield Finding.ok("buffers", f"a queue's socket gets {SOCKET_BUFFER} bytes")


def _buffer_given(wanted: int) -> int:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as probe:
        for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
            try:
                probe.setsockopt(socket.SOL_SOCKET, option, wanted)
            except PermissionError:
                continue
            break
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // _KERNEL_DOUBLES


def check_tracking(running: bool) -> Iterator[Finding]:
    """Connection tracking, its setting while a daemon runs, and its room."""
    liberal = _read(SETTINGS_DIRECTORY / "nf_conntrack_tcp_be_liberal")
    if liberal is None:
        # Where it is a module, the first rule that needs it loads it: the check of the rules says whether there is one.
        yield Finding.warning("conntrack", "connection tracking is not loaded yet", "modprobe nf_conntrack")
        return
    if running and liberal == 0:
        yield Finding.problem(
            "conntrack",
            "nf_conntrack_tcp_be_liberal is 0 while tcpcryptd runs: somebody set it back, and stateful firewalls on "
            "this host drop encrypted segments",
            "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1",
        )
    else:
        yield Finding.ok("conntrack", f"nf_conntrack_tcp_be_liberal is {liberal}")
    count, most = _read(SETTINGS_DIRECTORY / "nf_conntrack_count"), _read(SETTINGS_DIRECTORY / "nf_conntrack_max")
    if count is not None and most and count > most * _FULL:
        yield Finding.warning(
            "conntrack table",
            f"{count} of {most} entries are taken: connections without one cannot be encrypted",
            f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}",
        )


def check_sockets() -> Iterator[Finding]:
    """Whether the kernel ends sockets, which keeps them from going on in clear."""
    try:
        able = can_destroy()
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        yield Finding.warning("SOCK_DESTROY", "cannot be tried without CAP_NET_ADMIN", "run it as root")
        return
    if able:
        yield Finding.ok("SOCK_DESTROY", "the kernel can end sockets")
    else:
        yield Finding.warning(
            "SOCK_DESTROY",
            "the kernel cannot end sockets: after a crash, --cleanup cannot remove the rules safely",
            "a kernel with CONFIG_INET_DIAG_DESTROY",
        )


def check_congestion_notification() -> Iterator[Finding]:
    """ECN: a SYN that asks for it."""
    value = _read(_NETWORK_SETTINGS / "ipv4/tcp_ecn")
    if value in (None, 0, 2):
        yield Finding.ok("ECN", f"tcp_ecn is {value}: this host's SYNs do not ask for it")
        return
    yield Finding.warning(
        "ECN",
        f"tcp_ecn is {value}: this host's SYNs ask for it, and the original daemon takes such connections as plain",
        "sysctl -w net.ipv4.tcp_ecn=2, if you want encryption with hosts that run the original",
    )


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
