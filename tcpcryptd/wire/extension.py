"""The field with extensions at the end of a message of a key exchange (docs/eno.md, docs/suites.md).

    length (2) | items: type (2) | length (2) | value, ...

Integers are big endian. Types rise, so that each stands there once.
"""

from collections.abc import Mapping
from typing import Final

from tcpcryptd.wire.reader import Reader, ReadError

LENGTH_SIZE: Final = 2
MAX_LENGTH: Final = 4096
"""Bytes of all items."""
CRITICAL: Final = 0x8000
"""In a type: a receiver that does not know it must abort the connection; without this bit it is ignored."""

_FIELD_SIZE: Final = 2


class ExtensionError(ValueError):
    """An extension field that is malformed, too long, or has a critical item that is not known."""


def encode(items: Mapping[int, bytes]) -> bytes:
    """The field with its length; raises ExtensionError when it would be too long."""
    parts = [_uint16(kind) + _uint16(len(value)) + value for kind, value in sorted(items.items())]
    encoded = b"".join(parts)
    if len(encoded) > MAX_LENGTH:
        raise ExtensionError(f"{len(encoded)} bytes of extensions")
    return _uint16(len(encoded)) + encoded


def read(reader: Reader, known: frozenset[int] = frozenset()) -> dict[int, bytes]:
    """The items of the field that a reader stands before, those of `known` types; raises ExtensionError."""
    items: dict[int, bytes] = {}
    try:
        length = reader.uint(LENGTH_SIZE)
        if length > MAX_LENGTH:
            raise ExtensionError(f"{length} bytes of extensions")
        field, last = Reader(reader.take(length)), -1
        while field.remaining:
            kind, value = field.uint(_FIELD_SIZE), field.take(field.uint(_FIELD_SIZE))
            if kind <= last:
                raise ExtensionError(f"extension {kind:#06x} behind {last:#06x}")
            if kind in known:
                items[kind] = value
            elif kind & CRITICAL:
                raise ExtensionError(f"unknown extension {kind:#06x}")
            last = kind
    except ReadError as error:
        raise ExtensionError(str(error)) from error
    return items


def _uint16(value: int) -> bytes:
    return value.to_bytes(_FIELD_SIZE, "big")
