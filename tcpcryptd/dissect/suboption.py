"""The suboptions of the CRYPT option (docs/crypt-option.md section 1)."""

from typing import Any, ClassVar

from scapy.fields import (
    ByteEnumField,
    ByteField,
    FieldLenField,
    IntField,
    PacketListField,
    XStrFixedLenField,
    XStrLenField,
)
from scapy.packet import Packet

from tcpcryptd.dissect.element import Element, Malformed, PublicKeySpec
from tcpcryptd.dissect.names import NEXTK1, NEXTK1_SUPPORT, OPCODES, REKEY, name_of, shortened


class Suboption(Element):
    """A suboption that is its opcode alone: HELLO, NEXTK2, INIT1, INIT2, or one that is not known."""

    name = "suboption"
    fields_desc: ClassVar[list[Any]] = [ByteEnumField("opcode", 0x01, OPCODES)]

    def mysummary(self) -> str:
        """The opcode's name."""
        return name_of(self.opcode, OPCODES)


class PublicKeyConfiguration(Element):
    """PKCONF or PKCONF_SUPPORT: the public-key specs that a host offers, best first."""

    name = "PKCONF"
    fields_desc: ClassVar[list[Any]] = [
        ByteEnumField("opcode", 0x41, OPCODES),
        FieldLenField("length", None, fmt="B", length_of="specs", adjust=lambda _, size: size + 2),
        PacketListField("specs", [], PublicKeySpec, length_from=lambda packet: packet.length - 2),
    ]

    def mysummary(self) -> str:
        """The opcode's name and the specs."""
        return " ".join([name_of(self.opcode, OPCODES), *(spec.mysummary() for spec in self.specs)])


class UnknownSuboption(Element):
    """A suboption with a length byte whose opcode is not known; hosts skip it."""

    name = "unknown suboption"
    fields_desc: ClassVar[list[Any]] = [
        ByteEnumField("opcode", 0x40, OPCODES),
        FieldLenField("length", None, fmt="B", length_of="data", adjust=lambda _, size: size + 2),
        XStrLenField("data", b"", length_from=lambda packet: packet.length - 2),
    ]

    def mysummary(self) -> str:
        """The opcode and the first bytes of what follows."""
        return f"{name_of(self.opcode, OPCODES)} {shortened(self.data)}".rstrip()


class Rekey(Element):
    """REKEY: the new keys' generation and the sequence number where they start (docs/crypt-option.md section 9)."""

    name = "REKEY"
    fields_desc: ClassVar[list[Any]] = [
        ByteEnumField("opcode", REKEY, OPCODES),
        ByteField("generation", 0),
        IntField("sequence", 0),
    ]

    def mysummary(self) -> str:
        """Generation and sequence number."""
        return f"REKEY generation {self.generation} from {self.sequence}"


class NextKey(Element):
    """NEXTK1 or NEXTK1_SUPPORT: the first 9 bytes of the session ID about to start (docs/crypt-option.md section 8)."""

    name = "NEXTK1"
    fields_desc: ClassVar[list[Any]] = [
        ByteEnumField("opcode", NEXTK1, OPCODES),
        XStrFixedLenField("session_id", bytes(9), 9),
    ]

    def mysummary(self) -> str:
        """The opcode's name and the piece of the session ID."""
        return f"{name_of(self.opcode, OPCODES)} session {self.session_id.hex()}"


_FIXED: dict[int, tuple[type[Packet], int]] = {
    REKEY: (Rekey, 6),
    NEXTK1: (NextKey, 10),
    NEXTK1_SUPPORT: (NextKey, 10),
}
"""Layers and sizes of the suboptions whose length is in no byte."""


def suboption_class(option: Packet, found: list[Any], previous: Packet | None, rest: bytes) -> type[Packet] | None:
    """Scapy's question for the class of the next suboption; the first time, `rest` has what follows the option too."""
    if previous is None:
        rest = rest[: option.length - 2]
    if not rest:
        return None
    opcode = rest[0]
    if opcode < 0x40:
        return Suboption
    if opcode >= 0x80:
        kind, size = _FIXED.get(opcode, (Malformed, 0))
        return kind if len(rest) >= size else Malformed
    length = rest[1] if len(rest) > 1 else 0
    if not 2 <= length <= len(rest):
        return Malformed
    if opcode not in OPCODES:
        return UnknownSuboption
    return Malformed if (length - 2) % 3 else PublicKeyConfiguration
