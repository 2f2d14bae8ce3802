"""The requests that there are. A new one is an entry here and a handler in netio/control_handlers.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tcpcryptd.control.address import Address

Argument = bool | Address


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


ADDRESS: Final = Parameter(Address.from_json, _write_address)
OPTIONAL_FLAG: Final = Parameter(_read_flag, lambda value: value, required=False, default=False)

COMMANDS: Final[Mapping[str, Mapping[str, Parameter]]] = {
    "sessions": {"all": OPTIONAL_FLAG},
    "session": {"local": ADDRESS, "remote": ADDRESS},
    "counters": {},
}
"""Parameters by command and name."""
