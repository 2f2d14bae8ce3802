"""Numbers of the protocol; see spec/crypt-option.md. Sizes are bytes."""

import enum

CRYPT = 69
"""TCP option kind of the handshake and of REKEY (spec section 1)."""
MAC = 70
"""TCP option kind of the MAC (spec section 1)."""


class Opcode(enum.IntEnum):
    """First byte of a suboption (spec section 1)."""

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


FIRST_WITH_LENGTH = 0x40
"""From here a suboption's second byte is its length."""
FIRST_OF_FIXED_LENGTH = 0x80
"""From here the opcode alone decides the length."""
FIXED_LENGTHS = {Opcode.REKEY: 6, Opcode.NEXTK1: 10, Opcode.NEXTK1_SUPPORT: 10}
"""Whole suboptions, opcode included."""

INIT1_OPERATION = 1
INIT2_OPERATION = 2

NONCE_SIZE = 16
SESSION_PREFIX_SIZE = 9
"""How much of a session ID NEXTK1 carries (spec section 8)."""
PUBLIC_KEY_SPEC_SIZE = 3
SYMMETRIC_SPEC_SIZE = 4

MSS_REDUCTION = 40
"""What the option and its padding can take from a segment (spec section 11)."""

UNAUTHENTICATED_OPTIONS = frozenset((0, 1, 8, 16, 17, 19, MAC))
"""Options that do not enter the MAC (spec section 6)."""
