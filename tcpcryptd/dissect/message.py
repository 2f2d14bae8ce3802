"""The INIT1 and INIT2 messages (docs/crypt-option.md section 2)."""

from typing import Any, ClassVar

from scapy.fields import ByteField, FieldLenField, PacketField, PacketListField, ShortField, XStrField, XStrLenField
from scapy.packet import Packet

from tcpcryptd.dissect.element import Checked, PublicKeySpec, SymmetricSpec
from tcpcryptd.dissect.extension import LENGTH_SIZE, is_field, proof_of, shown
from tcpcryptd.dissect.names import INIT1, INIT2, shortened
from tcpcryptd.wire.reader import Reader, ReadError

_NONCE_SIZE = 16
_MAX_SPECS = 0xFFFF // 4
_SHOWN_SPECS = 8


class Message(Checked):
    """What INIT1 and INIT2 have in common."""

    @property
    def items(self) -> bytes:
        """Its extensions."""
        return bytes(self.extension_field[LENGTH_SIZE:])


class Init1(Message):
    """The INIT1 message, a whole payload: the client's suites, N_C and K_C (docs/crypt-option.md section 2)."""

    name = "INIT1"
    fields_desc: ClassVar[list[Any]] = [
        ShortField("operation", 1),
        FieldLenField("spec_count", None, count_of="symmetric_specs"),
        FieldLenField("nonce_length", None, length_of="nonce"),
        FieldLenField("key_length", None, length_of="public_key"),
        PacketListField(
            "symmetric_specs",
            [],
            SymmetricSpec,
            count_from=lambda packet: packet.spec_count,
            max_count=_MAX_SPECS,
        ),
        XStrLenField("nonce", bytes(_NONCE_SIZE), length_from=lambda packet: packet.nonce_length),
        ByteField("reserved", 0),
        PacketField("public_key_spec", PublicKeySpec(), PublicKeySpec),
        XStrLenField("public_key", b"", length_from=lambda packet: packet.key_length),
        XStrField("extension_field", b""),
    ]

    @classmethod
    def fits(cls, data: bytes) -> bool:
        """Whether the bytes are exactly one such message."""
        try:
            with Reader(data) as reader:
                operation, specs, nonce, key = (reader.uint(2) for _ in range(4))
                reader.take(specs * 4 + nonce + 4 + key)
                rest = reader.take(reader.remaining)
        except ReadError:
            return False
        return (not rest or is_field(rest)) and operation == 1 and nonce == _NONCE_SIZE and specs > 0 and key > 0

    def mysummary(self) -> str:
        """The nonce, the key's size and first bytes, and the first suites."""
        specs = self.symmetric_specs
        suites = [*(spec.mysummary() for spec in specs[:_SHOWN_SPECS]), *(["..."] if specs[_SHOWN_SPECS:] else [])]
        key = f"{self.public_key_spec.mysummary()} key of {len(self.public_key)} bytes {shortened(self.public_key)}"
        return f"nonce {self.nonce.hex()} {key} suites {' '.join(suites)}{shown(proof_of(self))}"


class Init2(Message):
    """The INIT2 message, a whole payload: the chosen suite and ENC(K_C, N_S) (docs/crypt-option.md section 2)."""

    name = "INIT2"
    fields_desc: ClassVar[list[Any]] = [
        ShortField("operation", 2),
        FieldLenField("ciphertext_length", None, length_of="ciphertext"),
        PacketField("symmetric_spec", SymmetricSpec(), SymmetricSpec),
        XStrLenField("ciphertext", b"", length_from=lambda packet: packet.ciphertext_length),
        XStrField("extension_field", b""),
    ]

    @classmethod
    def fits(cls, data: bytes) -> bool:
        """Whether the bytes are exactly one such message."""
        try:
            with Reader(data) as reader:
                operation, length = reader.uint(2), reader.uint(2)
                reader.take(4 + length)
                rest = reader.take(reader.remaining)
        except ReadError:
            return False
        return (not rest or is_field(rest)) and operation == 2

    def mysummary(self) -> str:
        """The suite, and the ciphertext's size and first bytes."""
        ciphertext = f"ciphertext of {len(self.ciphertext)} bytes {shortened(self.ciphertext)}"
        return f"suite {self.symmetric_spec.mysummary()} {ciphertext}{shown(proof_of(self))}"


MESSAGES: dict[int, type[Packet]] = {INIT1: Init1, INIT2: Init2}
"""What the payload is next to which suboption."""
