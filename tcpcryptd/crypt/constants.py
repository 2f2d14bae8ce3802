"""Numbers of the protocol; see docs/crypt-option.md. Sizes are bytes."""

import enum
from typing import Final

CRYPT: Final = 69
"""TCP option kind of the handshake and of REKEY (docs/crypt-option.md section 1)."""
MAC: Final = 70
"""TCP option kind of the MAC (docs/crypt-option.md section 1)."""


class Opcode(enum.IntEnum):
    """First byte of a suboption (docs/crypt-option.md section 1)."""

    HELLO = 0x01
    HELLO_SUPPORT = 0x02
    NEXTK2 = 0x04
    NEXTK2_SUPPORT = 0x05
    INIT1 = 0x06
    INIT2 = 0x07
    PKCONF = 0x41
    PKCONF_SUPPORT = 0x42
    REKEY = 0x83
    NEXTK1 = 0x84
    NEXTK1_SUPPORT = 0x85


FIRST_WITH_LENGTH: Final = 0x40
"""From here a suboption's second byte is its length."""
FIRST_OF_FIXED_LENGTH: Final = 0x80
"""From here the opcode alone decides the length."""
FIXED_LENGTHS: Final = {Opcode.REKEY: 6, Opcode.NEXTK1: 10, Opcode.NEXTK1_SUPPORT: 10}
"""Whole suboptions, opcode included."""

INIT1_OPERATION: Final = 1
INIT2_OPERATION: Final = 2

NONCE_SIZE: Final = 16
SESSION_PREFIX_SIZE: Final = 9
"""How much of a session ID NEXTK1 carries (docs/crypt-option.md section 8)."""
PUBLIC_KEY_SPEC_SIZE: Final = 3
SYMMETRIC_SPEC_SIZE: Final = 4

EXTENSIONS: Final = 0xFF
"""In PKCONF's last spec, instead of an algorithm: this host accepts extensions (docs/crypt-option.md section 17)."""

MSS_REDUCTION: Final = 40
"""What the option and its padding can take from a segment (docs/crypt-option.md section 11)."""

TIMESTAMP_AREA: Final = 12
"""NOP NOP timestamp: the only options that the kernel sends in an open connection without SACK."""

UNAUTHENTICATED_OPTIONS: Final = frozenset((0, 1, 8, 16, 17, 19, MAC))
"""Options that do not enter the MAC (docs/crypt-option.md section 6)."""
