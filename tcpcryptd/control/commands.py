"""All requests. A new one is an entry here and a handler in netio/clients/control_handlers.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tcpcryptd.control.socket_option import MAX_SPECS, SYMMETRIC_SPEC_SIZE, SocketOption
from tcpcryptd.records.address import Address

OptionValue = int | tuple[bytes, ...]
"""What an option can be set to: a number (flags are 0 and 1), or a list of specs."""
Argument = bool | Address | SocketOption | OptionValue
_MAX_NUMBER = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Parameter:
    """How one argument is read; `read` and `write` convert from and to its JSON value.

    `read` raises ValueError for what is not of this kind. Without `required`, a missing argument is `default`.
    """

    read: Callable[[object], Argument]
    write: Callable[[object], object]
    required: bool = True
    default: Argument | None = None


def _read_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _write_address(value: object) -> object:
    return value.to_json() if isinstance(value, Address) else value


def _read_option(value: object) -> SocketOption:
    if not isinstance(value, str) or value not in SocketOption.__members__:
        raise ValueError("expected the name of an option, such as TCP_CRYPT_SESSID")
    return SocketOption[value]


def _write_option(value: object) -> object:
    return value.name if isinstance(value, SocketOption) else value


def _read_value(value: object) -> OptionValue:
    if isinstance(value, list) and len(value) <= MAX_SPECS and all(isinstance(spec, str) for spec in value):
        if any(len(spec) > 2 * SYMMETRIC_SPEC_SIZE for spec in value):
            raise ValueError("a spec is too long")
        return tuple(bytes.fromhex(spec) for spec in value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER:
        return value
    raise ValueError(f"expected a whole number, or up to {MAX_SPECS} specs in hexadecimal")


def _write_value(value: object) -> object:
    return [spec.hex() for spec in value] if isinstance(value, tuple) else value


ADDRESS: Final = Parameter(Address.from_json, _write_address)
OPTIONAL_ADDRESS: Final = Parameter(Address.from_json, _write_address, required=False)
OPTION: Final = Parameter(_read_option, _write_option)
OPTION_VALUE: Final = Parameter(_read_value, _write_value)
OPTIONAL_FLAG: Final = Parameter(_read_flag, lambda value: value, required=False, default=False)

COMMANDS: Final[Mapping[str, Mapping[str, Parameter]]] = {
    "sessions": {"all": OPTIONAL_FLAG},
    "session": {"local": ADDRESS, "remote": ADDRESS},
    "peers": {},
    "counters": {},
    "flush_cache": {},
    "socket": {},
    "get_option": {"option": OPTION, "local": OPTIONAL_ADDRESS, "remote": OPTIONAL_ADDRESS},
    "set_option": {"option": OPTION, "value": OPTION_VALUE, "local": OPTIONAL_ADDRESS, "remote": OPTIONAL_ADDRESS},
}
"""Parameters by command and name."""
