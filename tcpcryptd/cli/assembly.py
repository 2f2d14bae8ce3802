"""The daemon's parts, put together as the settings say."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tcpcryptd.cli.config import ConfigError, Settings
from tcpcryptd.cli.log import log_event
from tcpcryptd.cli.options import ANSWERS, OFFERS
from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import Event
from tcpcryptd.crypt import CryptConfig, CryptFactory, algorithm_names
from tcpcryptd.eno import EnoConfig, EnoFactory
from tcpcryptd.netio.control_handlers import ControlHandlers
from tcpcryptd.netio.control_server import Companion, ControlServer
from tcpcryptd.netio.daemon import DaemonConfig, run_daemon
from tcpcryptd.netio.keygen import KeyJob
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


def _engine_config(settings: Settings) -> EngineConfig:
    config = EngineConfig(offers=OFFERS[settings.protocol], answers=ANSWERS[settings.answer], required=settings.require)
    return config if settings.cache else replace(config, max_sessions=0)


def run(settings: Settings) -> int:
    """Runs the daemon until it is stopped; the exit code. Raises ConfigError."""
    config = daemon_config(settings)
    crypt = CryptConfig().restricted([name for name in settings.suites if name in algorithm_names()])
    eno = EnoConfig().restricted(settings.suites)
    # The first key pair is there before the first connection; the others are made in a thread.
    crypt.rsa_keys.replace(crypt.rsa_keys.generate())
    engine = Engine(_engine_config(settings), [CryptFactory(crypt), EnoFactory(eno)], path_mtu=path_mtu)

    listeners: list[Callable[[Event], None]] = [log_event]

    def open_control(counters: Callable[[], dict[str, int]]) -> ControlServer:
        keeper, owners = OptionKeeper(engine), SocketOwners()
        options = SocketOptions(engine, keeper.keep)
        handlers = ControlHandlers(engine, owners, options, counters)
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

    jobs = [KeyJob("RSA", crypt.rsa_keys.generate, crypt.rsa_keys.replace)]
    return run_daemon(engine, config, open_control, on_event, jobs)
