"""Starts the shell around the packet path, and stops it so that nothing is left behind."""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.firewall import choice
from tcpcryptd.netio.firewall.backend import Firewall
from tcpcryptd.netio.firewall.conntrack_settings import ConntrackSettings
from tcpcryptd.netio.firewall.encrypted_sockets import end_encrypted_sockets
from tcpcryptd.netio.firewall.forwarded_connections import ForwardedConnections
from tcpcryptd.netio.firewall.rule_watch import RuleWatch
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.kernel.queue_statistics import QueueStatisticsReader, read_queue_statistics
from tcpcryptd.netio.loop import EventLoop, Source
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets.packet_path import PacketHandling
from tcpcryptd.netio.process.allocator import keep_freed_memory
from tcpcryptd.netio.process.memory import protect_memory
from tcpcryptd.netio.process.memory_shortage import MemoryShortage
from tcpcryptd.netio.process.privileges import Account, drop_privileges, require_root
from tcpcryptd.netio.process.runtime_directory import (
    DEFAULT_RUNTIME_DIRECTORY,
    LOCK_NAME,
    STATE_NAME,
    prepare_runtime_directory,
    remove_runtime_files,
)
from tcpcryptd.netio.process.service_manager import ServiceManager
from tcpcryptd.netio.process.signals import watch_signals
from tcpcryptd.netio.queue_numbers import QueueNumbers
from tcpcryptd.wire.build import COMPILED

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DaemonConfig:
    """The configuration of the shell."""

    selection: Selection = field(default_factory=Selection)
    queues: QueueNumbers = field(default_factory=QueueNumbers)
    marks: MarkScheme = field(default_factory=MarkScheme)
    firewall: str | None = choice.AUTO
    """The firewall for the rules, a name of `choice.NAMES` or AUTO; None: the administrator installs them."""
    user: str | None = None
    """The user to run as; None: tcpcryptd if that user exists, else nobody."""
    runtime_directory: Path = DEFAULT_RUNTIME_DIRECTORY
    """A directory for tcpcryptd alone, one for each network namespace."""

    def firewalls(self) -> dict[str, Firewall]:
        """All firewalls that can have our rules."""
        lock_file = self.lock_file if self.runtime_directory.is_dir() else None
        return choice.firewalls(self.selection, self.queues, self.marks, lock_file)

    @property
    def lock_file(self) -> Path:
        """A lock for iptables-legacy that an unprivileged user can write."""
        return self.runtime_directory / LOCK_NAME

    @property
    def state_file(self) -> Path:
        """The state that `cleanup` needs after the daemon was killed."""
        return self.runtime_directory / STATE_NAME


class ControlServer(Source, Protocol):
    """Answers clients on the control socket."""

    def close(self) -> None:
        """Disconnects the clients and removes the socket."""


ReadCounters = Callable[[], dict[str, int]]
ControlServerFactory = Callable[[ReadCounters], ControlServer]
"""Opens the control server, given what reads all counters. Called as root, with the runtime directory made."""


Reload = Callable[[], Selection]
"""Answers SIGHUP; returns what the rules have to be for from then on."""


class Daemon:
    """One run. `open_control` may raise DaemonError; None: no control socket. `reload`: see Reload."""

    def __init__(
        self,
        packets: PacketHandling,
        config: DaemonConfig,
        open_control: ControlServerFactory | None,
        reload: Reload | None = None,
    ) -> None:
        self._packets = packets
        self._config = config
        self._open_control = open_control
        self._reload = reload
        self._manager = ServiceManager()
        self._status = ""
        self._started = time.monotonic()
        self._statistics: QueueStatisticsReader | None = None
        self._watch: RuleWatch | None = None
        self._rules: Firewall | None = None
        """None: they are the administrator's, or not there yet."""
        self._holds_back = False
        """Whether the rules are all that keeps an earlier daemon's connections from going on in clear."""
        self._shortage = MemoryShortage(packets.relieve)

    def run(self) -> None:
        """Runs until a signal; raises DaemonError. In either case everything is as it was before."""
        try:
            self._run()
        finally:
            self._manager.close()

    def _run(self) -> None:
        require_root()
        protect_memory()
        keep_freed_memory()
        account = Account.find(self._config.user)
        check_not_running(self._config)
        prepare_runtime_directory(self._config.runtime_directory, account.user_id, account.group_id)
        with ExitStack() as stack:
            loop = self._open(stack)
            self._divert(stack)
            drop_privileges(account)
            self._packets.start(stack)
            if self._rules is not None:
                watch = self._watch = RuleWatch(self._rules, self._fail_closed)
                stack.callback(watch.close)
                loop.add(watch)
                watch.start()
            workers = self._config.queues.workers
            several = f" with {workers} workers" if workers > 1 else ""
            rules_of = f", rules of {self._rules.name}" if self._rules is not None else ""
            self._status = f"running as {account.name}{several}, queues {self._config.queues}{rules_of}"
            _log.info("%s", self._status)
            if self._manager.watchdog_interval is not None:
                loop.beat(self._manager.watchdog_interval, self._tell_alive)
            # The control socket appears in the loop's first turn: who is told that we are ready finds it.
            self._shortage.endure(loop.drain)
            self._manager.ready(self._status)
            self._shortage.endure(loop.run)
            self._manager.stopping()
            _log.info("stopping")

    def _open(self, stack: ExitStack) -> EventLoop:
        """Everything that must exist before the first packet is diverted."""
        loop = self._packets.open(stack)
        self._statistics = QueueStatisticsReader()
        stack.callback(self._statistics.close)
        if self._open_control is not None:
            control = self._open_control(self.counters)
            stack.callback(control.close)
            loop.add(control)
        stack.enter_context(watch_signals(loop, self._handle_hangup if self._reload is not None else None))
        return loop

    def _tell_alive(self) -> None:
        if self._packets.is_alive():
            self._manager.alive()

    def _handle_hangup(self) -> None:
        if self._reload is not None:
            self._manager.reloading()
            selection = self._reload()
            if self._rules is not None and self._watch is not None:
                self._rules.select(selection)
                self._watch.look()
            self._manager.ready(self._status)

    def _divert(self, stack: ExitStack) -> None:
        """Installs the rules, unless they are the administrator's."""
        config, every = self._config, self._config.firewalls()
        rules = None
        tracking = ConntrackSettings(config.state_file, forwards=bool(config.selection.forward))
        earlier = None
        with contextlib.suppress(OSError):
            # Where connection tracking is a module that is not loaded, there are none.
            earlier = ForwardedConnections(config.marks)
        if config.firewall is not None:
            rules = choice.choose(config.firewall, every)
            if choice.stale(every):
                _log.warning("replacing the firewall rules that an earlier tcpcryptd left")
        stack.callback(self._stop_diverting, tracking, rules)
        # Also where the start fails: the rules that it removes can be an earlier daemon's, which hold back plaintext.
        stack.callback(self._shut_down, earlier)
        if rules is not None:
            choice.install(rules, every)
            self._rules = rules
        # After the rules: they load connection tracking where it is a module.
        tracking.relax()

    def _stop_diverting(self, tracking: ConntrackSettings, rules: Firewall | None) -> None:
        """Leaves everything in place that holds back what an earlier daemon encrypted for other hosts."""
        if self._holds_back:
            return
        if rules is not None:
            _attempt(rules.remove)
        _attempt(tracking.restore)

    def _shut_down(self, earlier: ForwardedConnections | None) -> None:
        try:
            if earlier is not None and self._config.selection.forward:
                earlier.check(self._packets.was_reset)
            elif earlier is not None:
                # What came before the rules were replaced was answered, but not in the way that inside hosts need.
                earlier.check()
        except OSError as error:
            _log.warning("connections of hosts behind this one may go on in clear (%s)", error.strerror)
        except DaemonError as error:
            self._holds_back = True
            _log.error("%s", error.message)
        self._packets.stop()
        self._end_sockets()

    def _fail_closed(self) -> None:
        """Ends what goes on in clear without the rules; plain connections and new ones go on."""
        self._packets.reset()
        self._end_sockets()

    def _end_sockets(self) -> None:
        # A reset can miss; without the rules such a socket would go on in clear.
        try:
            end_encrypted_sockets(self._config.marks)
        except OSError as error:
            _log.warning("connections whose reset was lost may go on in clear (%s)", error.strerror)

    def counters(self) -> dict[str, int]:
        """Those of the packets (see PacketPath), of the rules and of the process."""
        statistics = self._statistics.read() if self._statistics is not None else {}
        counters = Counter(self._packets.counters(statistics))
        counters.update(
            uptime_seconds=int(time.monotonic() - self._started),
            workers=self._config.queues.workers,
            compiled=int(COMPILED),
            **{f"rules_of_{name}": int(self._rules is not None and name == self._rules.name) for name in choice.NAMES},
        )
        for part in (self._watch, self._shortage):
            # Workers count shortages of their own.
            counters.update(part.counters() if part is not None else {})
        return dict(counters)


def run_daemon(
    packets: PacketHandling,
    config: DaemonConfig,
    open_control: ControlServerFactory | None,
    reload: Reload | None = None,
) -> int:
    """Runs a daemon until SIGINT or SIGTERM; returns the exit code. An error is logged with what to do about it."""
    try:
        Daemon(packets, config, open_control, reload).run()
    except DaemonError as error:
        _log.error("%s", error.message)
        return error.exit_code
    return ExitCode.OK


def cleanup(config: DaemonConfig) -> None:
    """Removes what a daemon that was killed left behind; raises DaemonError, also when one is running."""
    require_root()
    check_not_running(config)
    try:
        ended = end_encrypted_sockets(config.marks)
        ForwardedConnections(config.marks).check()
    except OSError as error:
        raise DaemonError(
            f"the connections that were encrypted cannot be ended ({error.strerror}) and would go on in clear: "
            "the rules stay; start tcpcryptd once more, or end the applications and run launch_iptables.sh --remove",
            ExitCode.UNSUPPORTED,
        ) from error
    if ended:
        _log.info("ended %d sockets whose connections were encrypted", ended)
    choice.remove(config.firewalls())
    ConntrackSettings(config.state_file).restore()
    remove_runtime_files(config.runtime_directory)


def check_not_running(config: DaemonConfig) -> None:
    """Raises DaemonError when some process is bound to one of the queues, or to those of another daemon's rules.

    Two daemons in one network namespace would take each other's rules away.
    """
    bound = read_queue_statistics()
    named = choice.queues_in_use(config.firewalls()) if bound else set[int]()
    for number in sorted(named - set(config.queues.all)):
        if number in bound:
            raise DaemonError(
                "tcpcryptd is already running in this network namespace, with other queues: its rules divert to queue "
                f"{number}, which a process has (netlink port {bound[number].port_id}, usually its process ID). "
                "Stop it; if that is another program, run launch_iptables.sh --remove",
                ExitCode.BUSY,
            )
    for number in config.queues.all:
        if number in bound:
            raise DaemonError(
                f"queue {number} is taken by another process (netlink port {bound[number].port_id}, in general its "
                "process ID): is tcpcryptd already running? Stop it, or choose other queues with --queue",
                ExitCode.BUSY,
            )


def _attempt(action: Callable[[], None]) -> None:
    """The rest of the clean-up goes on when a part of it fails."""
    try:
        action()
    except DaemonError as error:
        _log.error("%s; run tcpcryptd --cleanup as root", error.message)
