"""The daemon's parts, put together as the settings say."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tcpcryptd.cli.config import ConfigError, Settings
from tcpcryptd.cli.destinations import Destinations, LiveEngineConfig
from tcpcryptd.cli.log import log_event
from tcpcryptd.cli.options import ANSWERS, OFFERS
from tcpcryptd.cli.protocols import Protocols
from tcpcryptd.cli.reload import LoadSettings, Reloader
from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import Event
from tcpcryptd.crypt import CryptConfig
from tcpcryptd.crypto.key_log import HEADER, KeyLog
from tcpcryptd.eno import EnoConfig
from tcpcryptd.netio.control_handlers import ControlHandlers
from tcpcryptd.netio.control_server import Companion, ControlServer
from tcpcryptd.netio.daemon import DaemonConfig, run_daemon
from tcpcryptd.netio.key_log_file import KeyLogFile
from tcpcryptd.netio.library_options import LibraryOptions
from tcpcryptd.netio.library_server import LibraryServer
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.option_keeper import OptionKeeper
from tcpcryptd.netio.path_mtu import path_mtu
from tcpcryptd.netio.rules import QueueNumbers
from tcpcryptd.netio.selection import Selection
from tcpcryptd.netio.socket_options import SocketOptions
from tcpcryptd.netio.socket_owner import SocketOwners


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
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return DaemonConfig(
        selection=selection,
        queues=QueueNumbers.starting_at(settings.queue),
        marks=MarkScheme(settings.mark_mask),
        manage_firewall=settings.firewall,
        user=settings.user,
        runtime_directory=Path(settings.runtime_directory),
    )


def _engine_config(settings: Settings, destinations: Destinations) -> EngineConfig:
    config = LiveEngineConfig(
        offers=OFFERS[settings.protocol], answers=ANSWERS[settings.answer], destinations=destinations
    )
    return config if settings.cache else replace(config, max_sessions=0)


def run(settings: Settings, load: LoadSettings) -> int:
    """Runs the daemon until it is stopped; the exit code. `load` gives new settings on SIGHUP. Raises ConfigError."""
    config = daemon_config(settings)
    key_log = KeyLogFile(Path(settings.keylog), HEADER) if settings.keylog is not None else None
    take_keys = _writer(key_log) if key_log is not None else None
    eno = EnoConfig(resumption_nonce_length=settings.resumption_nonce, key_log=take_keys)
    protocols = Protocols(CryptConfig(whole_packets=settings.whole_packets, key_log=take_keys), eno, settings.suites)
    destinations = Destinations(settings.require)
    jobs = protocols.key_jobs()
    engine = Engine(_engine_config(settings, destinations), protocols.factories, path_mtu=path_mtu)

    def choose_suites(names: Sequence[str]) -> None:
        protocols.choose_suites(names)
        # No session may bring back a suite that is not wanted any more.
        engine.flush_sessions()

    reloader = Reloader(settings, load, destinations, choose_suites)
    listeners: list[Callable[[Event], None]] = [log_event]

    def open_control(counters: Callable[[], dict[str, int]]) -> ControlServer:
        def read_counters() -> dict[str, int]:
            return counters() | (key_log.counters() if key_log is not None else {})

        if key_log is not None:
            key_log.open()
        keeper, owners = OptionKeeper(engine), SocketOwners()
        options = SocketOptions(engine, keeper.keep)
        handlers = ControlHandlers(engine, owners, options, read_counters)
        companions: list[Companion] = [keeper]
        if settings.libtcpcrypt_port is not None:
            library_options = LibraryOptions(engine, owners, options)
            library = LibraryServer(settings.libtcpcrypt_port, library_options, handlers.handle)
            listeners.append(library.on_event)
            companions.append(library)
        return ControlServer(settings.control_socket_path, handlers.handle, companions)

    def on_event(event: Event) -> None:
        for listener in listeners:
            listener(event)

    try:
        return run_daemon(engine, config, open_control, on_event, jobs, reloader.reload)
    finally:
        if key_log is not None:
            key_log.close()


def _writer(file: KeyLogFile) -> KeyLog:
    return lambda entry: file.write(entry.line())
