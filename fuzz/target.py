"""The wire protocols that are fuzzed. A new one is an entry in `TARGETS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tests.machine.world import ALL, MODERN, ORIGINAL, make_engine

MakeEngine = Callable[[object, int, EngineConfig], Engine]
"""Takes a seed, the number of a variant, and bounds."""


@dataclass(frozen=True)
class Target:
    """One protocol, and what an attacker who knows it puts into packets."""

    engine: MakeEngine
    variants: int
    """Configurations that differ, numbered from 0."""
    options: tuple[bytes, ...]
    """Whole TCP options."""
    openings: tuple[bytes, ...]
    """Those with which a SYN asks for the protocol."""
    payloads: tuple[bytes, ...] = ()
    """Beginnings of messages."""


_COMMON = (
    b"\x02\x04\x05\xb4",
    b"\x03\x03\x0e",
    b"\x04\x02",
    b"\x05\x0a" + bytes(8),
    b"\x08\x0a" + bytes(8),
    b"\x08\x03\x01",
    b"\x13\x02",
    b"\x01",
    b"\x00",
    b"\xff\x00",
    b"\x02\x03\x05",
)
_CRYPT_OPTIONS = (
    b"\x45\x02",
    b"\x45\x03\x01",
    b"\x45\x03\x02",
    b"\x45\x03\x04",
    b"\x45\x03\x06",
    b"\x45\x03\x07",
    b"\x45\x07\x41\x05\x02\x04\x04",
    b"\x45\x04\x41\x02",
    b"\x45\x04\x06\x07",
    b"\x45\x08\x83\x01" + bytes(4),
    b"\x45\x08\x83\x02\xff\xff\xff\xff",
    b"\x45\x0c\x84" + bytes(9),
    b"\x45\x05\x90\x01\x02",
    b"\x46\x12" + bytes(16),
    b"\x46\x16" + bytes(20),
    b"\x46\x02",
)
_CRYPT_PAYLOADS = (
    b"\0\1\0\1\0\x10\0\x20\0\xf1\0\xf1" + bytes(20) + b"\xf1\0\0" + bytes(32),
    b"\0\1\xff\xff\xff\xff\xff\xff",
    b"\0\1\0\0\0\0\0\0\0\0\0\0",
    b"\0\2\0\x40\0\xf1\0\xf1" + bytes(64),
    b"\0\2\xff\xff",
)


def _crypt(seed: object, variant: int, config: EngineConfig) -> Engine:
    return make_engine(seed, (ALL, MODERN, ORIGINAL)[variant], config)


_CRYPT_OPENINGS = (b"\x45\x02", b"\x45\x03\x01", b"\x45\x0c\x84" + bytes(9))

TARGETS: Final[Mapping[str, Target]] = {
    "crypt": Target(_crypt, 3, _COMMON + _CRYPT_OPTIONS, _CRYPT_OPENINGS, _CRYPT_PAYLOADS),
}
"""By the protocol's name."""
