"""Numbers of TCP-ENO (RFC 8547) and of tcpcrypt's use of it (RFC 8548). Sizes are bytes."""

from typing import Final

ENO: Final = 69
"""TCP option kind (RFC 8547 section 4.1)."""
NON_SYN: Final = bytes((ENO, 2))
"""The whole non-SYN-form option; tcpcrypt gives its contents no meaning, so it has none (RFC 8547 section 4.1)."""

V_BIT: Final = 0x80
"""In a suboption's first byte: data follows, or this is a length byte (RFC 8547 section 4.1)."""
GLT_MASK: Final = 0x7F
"""In a suboption's first byte: global suboption, length or TEP identifier (RFC 8547 section 4.1)."""
FIRST_TEP: Final = 0x20
"""From here up to 0x7f a glt is a TEP identifier (RFC 8547 section 4.1, Table 1)."""
LAST_TEP: Final = 0x7F

PASSIVE_ROLE: Final = 0x01
"""Bit b of the global suboption (RFC 8547 section 4.2)."""
APPLICATION_AWARE: Final = 0x02
"""Bit a of the global suboption (RFC 8547 section 4.2)."""

LENGTH_MASK: Final = 0x1F
"""In a length byte: the data's length less one (RFC 8547 section 4.4)."""
MAX_PREFIXED_DATA: Final = 32
"""What a length byte can say; only the last suboption can have more (RFC 8547 section 4.4)."""

RESUMPTION_HALF: Final = 9
"""Half of a resumption identifier (RFC 8548 section 3.5)."""
MAX_RESUMPTION_NONCE: Final = 8
"""Longest nonce behind it (RFC 8548 section 3.5)."""

EXPERIMENT: Final = b"\x5f\x7b"
"""What the data of the experiment's suboption begins with: of SHA-256("tcpcryptd TCP-ENO experiment")."""
EXPERIMENT_HALF: Final = 6
"""Of half a resumption identifier, what the experiment's suboption has."""

OVERHEAD: Final = 20
"""What a frame has besides its data: control, clen, flags and tag (RFC 8548 section 4.2)."""

INIT1_MAGIC: Final = 0x15101A0E
"""First four bytes of Init1 (RFC 8548 section 4.3)."""
INIT2_MAGIC: Final = 0x097105E0
"""First four bytes of Init2 (RFC 8548 section 4.3)."""
