"""Assembles the daemon's parts by the settings."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from tcpcryptd.cli.config import ConfigError, Settings
from tcpcryptd.cli.destinations import Destinations
from tcpcryptd.cli.identities import Identities
from tcpcryptd.cli.log import log_event, set_up_log
from tcpcryptd.cli.options import NO_FIREWALL
from tcpcryptd.cli.own_engine import OwnEngine, engine_config, reloadable_values
from tcpcryptd.cli.reload import LoadSettings, Reloader
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import Event
from tcpcryptd.crypto.key_log import HEADER, KeyLog
from tcpcryptd.netio.clients.control_handlers import ControlHandlers
from tcpcryptd.netio.clients.control_server import Companion, ControlServer
from tcpcryptd.netio.clients.library_options import LibraryOptions
from tcpcryptd.netio.clients.library_server import LibraryServer
from tcpcryptd.netio.clients.option_keeper import OptionKeeper
from tcpcryptd.netio.clients.socket_options import SocketOptions
from tcpcryptd.netio.daemon import DaemonConfig, ReadCounters, Reload, run_daemon
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.kernel.sock_diag import SocketOwners
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets.packet_path import PacketPath
from tcpcryptd.netio.process.key_log_file import KeyLogFile
from tcpcryptd.netio.process.privileges import Account, drop_privileges
from tcpcryptd.netio.queue_numbers import QueueNumbers
from tcpcryptd.netio.workers.engine import SharedEngine
from tcpcryptd.netio.workers.fork_server import ForkServer
from tcpcryptd.netio.workers.pool import WorkerPool
from tcpcryptd.netio.workers.sessions import SharedSessions
from tcpcryptd.netio.workers.worker import EngineParts, WorkerConfig, run_worker
from tcpcryptd.netio.workers.worker_state import WorkerState


def daemon_config(settings: Settings) -> DaemonConfig:
    """The shell's part of the settings; raises ConfigError."""
    try:
        selection = Selection(
            ports=settings.port,
            exclude_ports=settings.exclude_port,
            all_ports=settings.all_ports,
            interfaces=settings.interface,
            addresses=settings.address,
            forward=settings.forward,
            loopback=settings.loopback,
            require=settings.require + settings.require_post_quantum,
            require_identity=settings.require_identity,
        )
        queues = QueueNumbers.starting_at(settings.queue, settings.workers)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return DaemonConfig(
        selection=selection,
        queues=queues,
        marks=MarkScheme(settings.mark_mask),
        firewall=settings.firewall if settings.firewall != NO_FIREWALL else None,
        user=settings.user,
        runtime_directory=Path(settings.runtime_directory),
    )


def run(settings: Settings, load: LoadSettings) -> int:
    """Runs the daemon; returns the exit code. `load` gives new settings on SIGHUP. Raises ConfigError."""
    config = daemon_config(settings)
    key_log = KeyLogFile(Path(settings.keylog), HEADER) if settings.keylog is not None else None
    try:
        identities = Identities.of(settings)
        if config.queues.workers > 1:
            return _run_workers(settings, load, config, key_log, identities)
        return _run_alone(settings, load, config, key_log, identities)
    finally:
        if key_log is not None:
            key_log.close()


def _run_alone(
    settings: Settings,
    load: LoadSettings,
    config: DaemonConfig,
    key_log: KeyLogFile | None,
    identities: Identities | None,
) -> int:
    own = OwnEngine(settings, _writer(key_log), identities=identities)
    listeners: list[Callable[[Event], None]] = [log_event]

    def on_event(event: Event) -> None:
        for listener in listeners:
            listener(event)

    def open_control(counters: ReadCounters) -> ControlServer:
        if key_log is not None:
            key_log.open()
        control, library = _open_control(settings, own.engine, _with_key_log(counters, key_log))
        if library is not None:
            listeners.append(library.on_event)
        return control

    packets = PacketPath(
        own.engine, config.queues, config.marks, on_event, own.jobs, _forwards(config), busy_poll=settings.busy_poll
    )
    return run_daemon(packets, config, open_control, _reload(Reloader(settings, load, own.apply)))


def _reload(reloader: Reloader) -> Reload:
    def reload() -> Selection:
        reloader.reload()
        return daemon_config(reloader.settings).selection

    return reload


def _forwards(config: DaemonConfig) -> bool | None:
    """See PacketPath."""
    return bool(config.selection.forward) or (None if config.firewall is None else False)


def _run_workers(
    settings: Settings,
    load: LoadSettings,
    config: DaemonConfig,
    key_log: KeyLogFile | None,
    identities: Identities | None,
) -> int:
    on_decided: list[Callable[[Endpoint, Endpoint], None]] = []

    def tell(local: Endpoint, remote: Endpoint) -> None:
        for listener in on_decided:
            listener(local, remote)

    worker_state = WorkerState()
    pool = WorkerPool(
        lambda: _start_fork_server(settings, config, key_log, identities), config.queues, worker_state, tell
    )
    engine = SharedEngine(pool, worker_state)

    def open_control(counters: ReadCounters) -> ControlServer:
        control, library = _open_control(settings, engine, lambda: _sum(counters(), _with_key_log(dict, key_log)()))
        if library is not None:
            on_decided.append(library.on_decided)
        return control

    def apply(new: Settings) -> None:
        set_up_log(new.verbose)
        if identities is not None:
            # What is wrong with the list is said once, not by each worker.
            identities.reload()
        engine.adjust(reloadable_values(new))

    return run_daemon(pool, config, open_control, _reload(Reloader(settings, load, apply)))


def _start_fork_server(
    settings: Settings, config: DaemonConfig, key_log: KeyLogFile | None, identities: Identities | None
) -> ForkServer:
    if key_log is not None:
        # As root, and once for all workers.
        key_log.open()
    sessions = _shared_sessions(settings, config.queues.workers)

    def build(index: int) -> EngineParts:
        if sessions is not None:
            sessions.owner = index + 1
        if identities is not None:
            identities.is_quiet = True
        own = OwnEngine(settings, _writer(key_log), sessions, identities)
        # That there is a key log is counted once, in the daemon's own process.
        counters = _with_key_log(dict, key_log)
        return EngineParts(own.engine, own.jobs, log_event, own.adjust, lambda: counters() | {"keylog_on": 0})

    tells_decisions = settings.libtcpcrypt_port is not None
    worker_config = WorkerConfig(
        config.queues, config.marks, build, tells_decisions, _forwards(config), settings.busy_poll
    )
    fork_server = ForkServer(
        lambda: drop_privileges(Account.find(config.user)),
        lambda index, end: run_worker(index, end, worker_config),
    )
    if sessions is not None:
        sessions.close()
    if identities is not None:
        identities.forget_key()
    return fork_server


def _shared_sessions(settings: Settings, workers: int) -> SharedSessions | None:
    limits = engine_config(settings, *(Destinations() for _ in range(3)))
    return SharedSessions(limits.max_sessions * workers, limits.session_lifetime) if limits.max_sessions else None


def _open_control(
    settings: Settings, engine: Engine | SharedEngine, counters: ReadCounters
) -> tuple[ControlServer, LibraryServer | None]:
    keeper, owners = OptionKeeper(engine), SocketOwners()
    options = SocketOptions(engine, keeper.keep)
    handlers = ControlHandlers(engine, owners, options, counters)
    companions: list[Companion] = [keeper]
    library = None
    if settings.libtcpcrypt_port is not None:
        library_options = LibraryOptions(engine, owners, options)
        library = LibraryServer(settings.libtcpcrypt_port, library_options, handlers.handle)
        companions.append(library)
    return ControlServer(settings.control_socket_path, handlers.handle, companions), library


def _writer(file: KeyLogFile | None) -> KeyLog | None:
    return (lambda entry: file.write(entry.line())) if file is not None else None


def _with_key_log(counters: ReadCounters, file: KeyLogFile | None) -> ReadCounters:
    return counters if file is None else lambda: counters() | file.counters()


def _sum(*parts: Mapping[str, int]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)
