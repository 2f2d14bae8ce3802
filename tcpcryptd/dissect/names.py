"""Numbers on the wire and what they are called (docs/crypt-option.md sections 1, 2 and 12)."""

CRYPT = 69
"""TCP option kind of the handshake and of REKEY; TCP-ENO has the same (RFC 8547 section 11)."""
MAC = 70
"""TCP option kind of the MAC."""

INIT1 = 0x06
INIT2 = 0x07
REKEY = 0x83
NEXTK1 = 0x84
NEXTK1_SUPPORT = 0x85
OPCODES = {
    0x01: "HELLO",
    0x02: "HELLO_SUPPORT",
    0x04: "NEXTK2",
    0x05: "NEXTK2_SUPPORT",
    INIT1: "INIT1",
    INIT2: "INIT2",
    0x41: "PKCONF",
    0x42: "PKCONF_SUPPORT",
    REKEY: "REKEY",
    NEXTK1: "NEXTK1",
    NEXTK1_SUPPORT: "NEXTK1_SUPPORT",
}
TEPS = {0x20: "experimental", 0x21: "P-256", 0x22: "P-521", 0x23: "Curve25519", 0x24: "Curve448"}
"""TEP identifiers of TCP-ENO (RFC 8547 section 11, RFC 8548 section 7)."""
EXPERIMENT = b"\x5f\x7b"
"""What the data of our use of TEP 0x20 begins with (docs/eno.md)."""
EXPERIMENT_HALF = 6
"""Bytes of half an identifier in it."""
AGREEMENTS = {0x23: "Curve25519", 0x41: "MLKEM768-X25519"}
"""Key agreements within it."""
HYBRID = AGREEMENTS[0x41]
"""The one that resists a quantum computer."""
AEADS = {0x0001: "AES-128-GCM", 0x0002: "AES-256-GCM", 0x0010: "ChaCha20-Poly1305"}
"""sym_cipher of tcpcrypt's Init messages (RFC 8548 section 7)."""
PUBLIC_KEY_ALGORITHMS = {0x02: "RSA", 0xF0: "X25519-HPKE", 0xF1: "MLKEM768-X25519-HPKE"}
EXTENSIONS = 0xFF
"""In the place of one: the sender takes extensions, and its own in INIT2 have so many bytes (docs/identity.md)."""
POST_QUANTUM = frozenset((0xF1,))
"""Those that resist a quantum computer."""
CIPHERS = {0x00: "any", 0x01: "AES128-CTR-SEQIV", 0x02: "RC4", 0xF1: "AES-256-GCM-SIV", 0xF2: "AES-SIV-CMAC-256"}
MACS = {0x00: "any", 0x01: "HMAC-SHA1", 0x02: "UMAC", 0xF1: "AES-256-GCM-SIV", 0xF2: "AES-SIV-CMAC-256"}

_SHOWN_BYTES = 8


def name_of(number: int, names: dict[int, str]) -> str:
    """The name of a one-byte number, or the number."""
    return names.get(number, f"0x{number:02x}")


def shortened(data: bytes) -> str:
    """The first bytes in hexadecimal."""
    return data[:_SHOWN_BYTES].hex() + ("..." if len(data) > _SHOWN_BYTES else "")
