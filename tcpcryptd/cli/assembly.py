"""The daemon's parts, put together as the settings say."""

from collections.abc import Callable
from pathlib import Path

from tcpcryptd.cli.config import ConfigError, Settings
from tcpcryptd.cli.log import log_event
from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.crypt import CryptConfig, CryptFactory
from tcpcryptd.netio.control_handlers import ControlHandlers
from tcpcryptd.netio.control_server import ControlServer
from tcpcryptd.netio.daemon import DaemonConfig, run_daemon
from tcpcryptd.netio.keygen import KeyJob
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.rules import QueueNumbers
from tcpcryptd.netio.selection import Selection
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


def run(settings: Settings) -> int:
    """Runs the daemon until it is stopped; the exit code. Raises ConfigError."""
    config = daemon_config(settings)
    crypt = CryptConfig()
    # The first key pair is there before the first connection; the others are made in a thread.
    crypt.rsa_keys.replace(crypt.rsa_keys.generate())
    engine = Engine(EngineConfig(required=settings.require), [CryptFactory(crypt)])

    def open_control(counters: Callable[[], dict[str, int]]) -> ControlServer:
        handlers = ControlHandlers(engine, SocketOwners(), counters)
        return ControlServer(settings.control_socket_path, handlers.handle)

    jobs = [KeyJob("RSA", crypt.rsa_keys.generate, crypt.rsa_keys.replace)]
    return run_daemon(engine, config, open_control, log_event, jobs)
