"""Records as JSON, in either direction, by the types of their fields.

Dataclasses are objects, tuples lists, enumerations their values, bytes hexadecimal strings. A class with `to_json` and
`from_json` has a form of its own.
"""

import enum
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_Record = TypeVar("_Record")


def encode(value: Any) -> Any:
    """What `json.dumps` takes."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    return [encode(each) for each in value] if isinstance(value, tuple) else value


def decode(kind: Any, value: Any) -> Any:
    """The value of a type that `encode` has made this of; raises ValueError.

    What a dataclass does not know is ignored, and its defaults stand for what is missing.
    """
    if get_origin(kind) in (UnionType, Union):
        (inner,) = (each for each in get_args(kind) if each is not type(None))
        return None if value is None else decode(inner, value)
    if get_origin(kind) is tuple:
        return tuple(decode(get_args(kind)[0], each) for each in _typed(list, value))
    if hasattr(kind, "from_json"):
        return kind.from_json(value)
    if is_dataclass(kind):
        return _record(kind, _typed(dict, value))
    if issubclass(kind, enum.Enum):
        return kind(value)
    if kind is bytes:
        return bytes.fromhex(_typed(str, value))
    if kind is float and type(value) is int:
        return float(value)
    return _typed(kind, value)


def decode_named(name: str, kind: type[_Record], value: Any) -> _Record:
    """The same, and the error says of what it is."""
    try:
        record: _Record = decode(kind, value)
    except ValueError as error:
        raise ValueError(f"not a {name}: {error}") from error
    return record


def _record(kind: Any, row: dict[str, Any]) -> Any:
    values = {}
    for field, hint in _fields(kind):
        if field.name in row:
            try:
                values[field.name] = decode(hint, row[field.name])
            except ValueError as error:
                raise ValueError(f"{field.name}: {error}") from error
        elif field.default is MISSING:
            raise ValueError(f"{field.name} is missing")
    return kind(**values)


@cache
def _fields(kind: Any) -> list[tuple[Field[Any], Any]]:
    hints = get_type_hints(kind)
    return [(field, hints[field.name]) for field in fields(kind)]


def _typed(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"not of the type {kind.__name__}")
    return value
