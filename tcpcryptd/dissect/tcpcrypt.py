"""The Init messages and the encryption frames of tcpcrypt in a TCP stream (RFC 8548 section 4).

Which stream has them, and where in it a frame begins, is for the caller to know: `tcpcryptd.pcap` follows whole
connections.
"""

from typing import Any, ClassVar

from scapy.fields import (
    BitField,
    ConditionalField,
    FieldLenField,
    FieldListField,
    LenField,
    ShortField,
    XIntField,
    XShortEnumField,
    XStrField,
    XStrFixedLenField,
    XStrLenField,
)

from tcpcryptd.dissect.element import Checked, Element
from tcpcryptd.dissect.extension import LENGTH_SIZE, proof_of, shown
from tcpcryptd.dissect.names import AEADS, shortened

INIT1_MAGIC = bytes.fromhex("15101a0e")
INIT2_MAGIC = bytes.fromhex("097105e0")
INIT_PREFIX_SIZE = 8
"""Magic and message_len."""
FRAME_HEADER_SIZE = 3
"""Control and clen."""
TAG_SIZE = 16
MIN_CLEN = TAG_SIZE + 1

_NONCE_SIZE = 32
_INIT1_FIXED = INIT_PREFIX_SIZE + 1 + _NONCE_SIZE
_INIT2_FIXED = INIT_PREFIX_SIZE + 2 + _NONCE_SIZE
_CIPHER_SIZE = 2


def init_length(stream: bytes) -> int | None:
    """The length in bytes of the Init message that a stream begins with; None: it begins with none."""
    if stream[:4] not in (INIT1_MAGIC, INIT2_MAGIC) or len(stream) < INIT_PREFIX_SIZE:
        return None
    return int.from_bytes(stream[4:INIT_PREFIX_SIZE], "big")


def _is_message(data: bytes, magic: bytes, fixed: int) -> bool:
    return data[:4] == magic and init_length(data) == len(data) > fixed


_KEM_SIZES = {INIT1_MAGIC: 1216, INIT2_MAGIC: 1120}
"""Bytes of MLKEM768-X25519's public key and ciphertext, which nothing else comes near to (docs/eno.md)."""


_X25519_SIZE = 32
_WITHOUT_EXTENSIONS = (32, 56, 35, 69)
"""Bytes of the public keys of RFC 8548's own TEPs."""


def _split(magic: bytes, data: bytes) -> tuple[bytes, bytes | None]:
    """Public key, and extensions; None: there is no extension field."""
    if len(data) not in _WITHOUT_EXTENSIONS:
        for size in (_KEM_SIZES[magic], _X25519_SIZE):
            start = size + LENGTH_SIZE
            end = start + int.from_bytes(data[size:start], "big")
            if start <= len(data) and end <= len(data):
                return data[:size], data[start:end]
    return data, None


def _key(magic: bytes, data: bytes) -> str:
    """Public key with what else follows."""
    key, extensions = _split(magic, data)
    what = "ciphertext" if magic == INIT2_MAGIC and len(key) == _KEM_SIZES[magic] else "public key"
    said = "" if extensions is None else f" extensions of {len(extensions)} bytes"
    return f"{what} of {len(key)} bytes {shortened(key)}{said}"


_CIPHER: Any = XShortEnumField("cipher", 0x0001, AEADS)


class InitMessage(Checked):
    """What Init1 and Init2 have in common."""

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Sets the length, that of the whole message (scapy's name)."""
        if self.length is None:
            pkt = pkt[:4] + len(pkt).to_bytes(4, "big") + pkt[INIT_PREFIX_SIZE:]
        return pkt + pay

    @property
    def items(self) -> bytes:
        """Its extensions."""
        return _split(self.magic.to_bytes(4, "big"), self.public_key)[1] or b""


class TcpcryptInit1(InitMessage):
    """Init1: what host A offers (RFC 8548 sections 3.3 and 4.1)."""

    name = "Init1"
    fields_desc: ClassVar[list[Any]] = [
        XIntField("magic", int.from_bytes(INIT1_MAGIC, "big")),
        LenField("length", None, fmt="I"),
        FieldLenField("cipher_count", None, fmt="B", count_of="ciphers"),
        FieldListField(
            "ciphers",
            [],
            _CIPHER,
            count_from=lambda packet: packet.cipher_count,
        ),
        XStrFixedLenField("nonce", bytes(_NONCE_SIZE), _NONCE_SIZE),
        XStrField("public_key", b""),
    ]

    @classmethod
    def fits(cls, data: bytes) -> bool:
        """Whether the bytes are exactly one Init1."""
        whole = _is_message(data, INIT1_MAGIC, _INIT1_FIXED) and data[INIT_PREFIX_SIZE] > 0
        return whole and len(data) > _INIT1_FIXED + data[INIT_PREFIX_SIZE] * _CIPHER_SIZE

    def mysummary(self) -> str:
        """Nonce, public key with what else follows, and AEAD algorithms."""
        ciphers = " ".join(AEADS.get(cipher, f"0x{cipher:04x}") for cipher in self.ciphers)
        key = _key(INIT1_MAGIC, self.public_key)
        return f"Init1 nonce {self.nonce.hex()} {key} ciphers {ciphers}{shown(proof_of(self))}"


class TcpcryptInit2(InitMessage):
    """Init2: what host B chooses (RFC 8548 sections 3.3 and 4.1)."""

    name = "Init2"
    fields_desc: ClassVar[list[Any]] = [
        XIntField("magic", int.from_bytes(INIT2_MAGIC, "big")),
        LenField("length", None, fmt="I"),
        _CIPHER,
        XStrFixedLenField("nonce", bytes(_NONCE_SIZE), _NONCE_SIZE),
        XStrField("public_key", b""),
    ]

    @classmethod
    def fits(cls, data: bytes) -> bool:
        """Whether the bytes are exactly one Init2."""
        return _is_message(data, INIT2_MAGIC, _INIT2_FIXED)

    def mysummary(self) -> str:
        """Nonce, public key with what else follows, and the AEAD algorithm."""
        key = _key(INIT2_MAGIC, self.public_key)
        cipher = AEADS.get(self.cipher, f"0x{self.cipher:04x}")
        return f"Init2 nonce {self.nonce.hex()} {key} cipher {cipher}{shown(proof_of(self))}"


class Frame(Checked, Element):
    """An encryption frame (RFC 8548 section 4.2); the bytes after it are the next one's."""

    name = "tcpcrypt frame"
    fields_desc: ClassVar[list[Any]] = [
        BitField("reserved", 0, 7),
        BitField("rekey", 0, 1),
        FieldLenField("clen", None, fmt="H", length_of="ciphertext"),
        XStrLenField("ciphertext", bytes(MIN_CLEN), length_from=lambda packet: packet.clen),
    ]

    @classmethod
    def fits(cls, data: bytes) -> bool:
        """Whether the bytes begin with a whole frame."""
        clen = int.from_bytes(data[1:FRAME_HEADER_SIZE], "big")
        return MIN_CLEN <= clen <= len(data) - FRAME_HEADER_SIZE

    def mysummary(self) -> str:
        """Whether it begins new keys, and its length."""
        return f"frame {'rekey ' if self.rekey else ''}clen {self.clen}"


class FramePlaintext(Checked):
    """The plaintext of a frame (RFC 8548 section 4.2)."""

    name = "tcpcrypt frame plaintext"
    fields_desc: ClassVar[list[Any]] = [
        BitField("reserved", 0, 6),
        BitField("urgp", 0, 1),
        BitField("finp", 0, 1),
        ConditionalField(ShortField("urgent", 0), lambda packet: packet.urgp),
        XStrField("data", b""),
    ]

    @classmethod
    def fits(cls, data: bytes) -> bool:
        """Whether there is an urgent field if URGp says so."""
        return not data[0] & 2 or len(data) >= 3

    def mysummary(self) -> str:
        """Flags and the data's length."""
        urgent = f"URG {self.urgent} " if self.urgp else ""
        return f"{urgent}{'FIN ' if self.finp else ''}data of {len(self.data)} bytes"
