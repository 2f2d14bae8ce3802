"""The wire protocols that are fuzzed. A new one is an entry in `TARGETS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.crypto.ecdhe import P256, X448, X25519
from tcpcryptd.crypto.frame_aead import AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.constants import INIT1_MAGIC, INIT2_MAGIC
from tests.machine.world import ALL, ENO, MODERN, ORIGINAL, make_engine

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

_INIT1, _INIT2 = INIT1_MAGIC.to_bytes(4, "big"), INIT2_MAGIC.to_bytes(4, "big")
_ENO_OPTIONS = (
    b"\x45\x02",
    b"\x45\x03\x23",
    b"\x45\x04\x01\x23",
    b"\x45\x05\x01\x23\x24",
    b"\x45\x06\x21\x22\x23\x24",
    b"\x45\x03\x01",
    b"\x45\x04\x02\x23",
    b"\x45\x04\x03\x23",
    b"\x45\x04\x10\x23",
    b"\x45\x14\xa3" + bytes(17),
    b"\x45\x15\x01\xa3" + bytes(17),
    b"\x45\x16\x90\xa3" + bytes(17) + b"\x24",
    b"\x45\x05\x9f\xa3\0",
    b"\x45\x04\x80\xa3",
    b"\x45\x0c\xa3" + bytes(9),
    b"\x45\x0c\x84" + bytes(9),
    b"\x22\x0acookie!!",
    b"\x05\x12" + bytes(16),
    b"\x45\x09\x23\x83\xa0\x5f\x7b\x41\0",
    b"\x45\x07\x01\xa0\x5f\x7b\x41",
    b"\x45\x15\x01\xa0\x5f\x7b\xc1" + bytes(14),
)
_ENO_OPENINGS = (
    b"\x45\x03\x23",
    b"\x45\x06\x23\x24\x21\x22",
    b"\x45\x14\xa3" + bytes(17),
    b"\x45\x08\x83\xa0\x5f\x7b\x41\0",
)
_ENO_PAYLOADS = (
    _INIT1 + b"\0\0\0\x4f\0\x03\0\x01\0\x02\0\x10" + bytes(64),
    _INIT1 + b"\xff\xff\xff\xff",
    _INIT1 + bytes(4),
    _INIT1 + b"\0\0\x04\xf1\x03\0\x01\0\x02\0\x10" + bytes(32 + 1216 + 2),
    _INIT2 + b"\0\0\x04\x8c\0\x01" + bytes(32 + 1120 + 2),
    _INIT2 + b"\0\0\0\x4a\0\x01" + bytes(64),
    _INIT2 + b"\0\0\x20\x01\0\x01",
    b"\0\0\x11" + bytes(17),
    b"\x01\0\x11" + bytes(17),
    b"\0\0\0",
    b"\0\xff\xff",
    b"\xff\0\x20" + bytes(32),
)


def _eno(seed: object, variant: int, config: EngineConfig) -> Engine:
    return make_engine(seed, (ENO, _ENO_LISTS, _ENO_X448)[variant], config)


_ENO_LISTS = replace(ENO, eno=EnoConfig((P256, X25519), (CHACHA20_POLY1305, AES_128_GCM)))
_ENO_X448 = replace(ENO, eno=EnoConfig((X448,), (AES_256_GCM,)))

TARGETS: Final[Mapping[str, Target]] = {
    "crypt": Target(_crypt, 3, _COMMON + _CRYPT_OPTIONS, _CRYPT_OPENINGS, _CRYPT_PAYLOADS),
    "eno": Target(_eno, 3, _COMMON + _ENO_OPTIONS, _ENO_OPENINGS, _ENO_PAYLOADS),
}
"""By the protocol's name."""
