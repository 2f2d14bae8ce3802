"""The settings of tcpcryptd: defaults, the configuration file over them, the command line over both."""

import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from tcpcryptd.cli.options import FIREWALLS, OPTIONS, Option
from tcpcryptd.eno.constants import MAX_RESUMPTION_NONCE
from tcpcryptd.netio import busy_polling
from tcpcryptd.netio.marks import DEFAULT_MASK
from tcpcryptd.netio.process.runtime_directory import DEFAULT_RUNTIME_DIRECTORY
from tcpcryptd.netio.process.state_file import DEFAULT_STATE_DIRECTORY
from tcpcryptd.netio.queue_numbers import DEFAULT_QUEUE, default_workers

Network = IPv4Network | IPv6Network

MAX_FILE_BYTES = 1 << 20

_NARROWING = "port", "interface", "address", "suites"
"""Of these only what is named is meant."""

_log = logging.getLogger(__name__)


class ConfigError(Exception):
    """An impossible setting; the message names it, its source and what is allowed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The value of each option of `OPTIONS`."""

    port: tuple[int, ...] = ()
    exclude_port: tuple[int, ...] = ()
    all_ports: bool = False
    interface: tuple[str, ...] = ()
    loopback: bool = False
    forward: tuple[str, ...] = ()
    address: tuple[Network, ...] = ()
    protocol: str = "crypt"
    answer: str = "both"
    require: tuple[Network, ...] = ()
    require_post_quantum: tuple[Network, ...] = ()
    identity: str | None = None
    peers: str | None = None
    require_identity: tuple[Network, ...] = ()
    first_use: bool = False
    state_directory: str = str(DEFAULT_STATE_DIRECTORY)
    suites: tuple[str, ...] = ()
    resumption_nonce: int = MAX_RESUMPTION_NONCE
    cache: bool = True
    whole_packets: bool = False
    workers: int = field(default_factory=default_workers)
    busy_poll: int = busy_polling.DEFAULT
    queue: int = DEFAULT_QUEUE
    mark_mask: int = DEFAULT_MASK
    firewall: str = FIREWALLS[0]
    user: str | None = None
    runtime_directory: str = str(DEFAULT_RUNTIME_DIRECTORY)
    control_socket: str | None = None
    libtcpcrypt_port: int | None = None
    keylog: str | None = None
    verbose: bool = False

    @property
    def control_socket_path(self) -> Path:
        """The path of the control socket."""
        return Path(self.control_socket or Path(self.runtime_directory) / "control.sock")


def load_settings(file: Path | None, command_line: Mapping[str, object]) -> Settings:
    """The settings; `command_line` has the options given there by key (`Option.key`). Raises ConfigError."""
    from_file = read_file(file) if file is not None else {}
    names = {field.name for field in fields(Settings)}
    given = {key: value for key, value in command_line.items() if key in names}
    return Settings(**(from_file | given))


def read_file(path: Path) -> dict[str, Any]:
    """The options in a TOML file, by key; raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        document = tomllib.loads(content.decode())
    # RecursionError: nested too deeply.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    known = {option.name: option for option in OPTIONS}
    unknown = document.keys() - known.keys()
    if unknown:
        raise ConfigError(f"{path}: unknown key {min(unknown)!r}; known keys: {', '.join(sorted(known))}")
    return {known[name].key: read_value(known[name], value, str(path)) for name, value in document.items()}


def read_value(option: Option, value: object, source: str) -> object:
    """The value of an option as it stands in `source`; raises ConfigError."""
    if option.kind is None:
        if not isinstance(value, bool):
            raise ConfigError(f"{source}: {option.name}: {value!r}: expected true or false")
        return value
    if value == [] and option.name in _NARROWING:
        _log.warning("%s: %s = []: an empty list chooses all, as if it were left out", source, option.name)
    values = value if isinstance(value, list) and option.repeated else [value]
    read = []
    for each in values:
        try:
            read.append(option.kind.read(each))
        except ValueError as error:
            expected = option.kind.expected + (", or a list of them" if option.repeated else "")
            raise ConfigError(f"{source}: {option.name}: {each!r}: expected {expected}") from error
    return tuple(read) if option.repeated else read[0]
