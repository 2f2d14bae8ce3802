"""The TCP ENO option (RFC 8547 section 4) with the TEP identifiers of tcpcrypt (RFC 8548 section 7)."""

from typing import Any, ClassVar

from scapy.fields import FieldLenField, PacketListField, XByteEnumField, XByteField, XStrField, XStrLenField
from scapy.packet import Packet

from tcpcryptd.dissect.element import Element, Malformed, OptionLayer, option_head
from tcpcryptd.dissect.names import (
    AGREEMENTS,
    CRYPT,
    EXPERIMENT,
    EXPERIMENT_HALF,
    NEXTK1,
    NEXTK1_SUPPORT,
    TEPS,
    name_of,
)
from tcpcryptd.wire import options

_V = 0x80
_FIRST_TEP = 0x20
_FIRST_TEP_WITH_DATA = _V | _FIRST_TEP
_CRYPT_OPENINGS = (b"", b"\x01", b"\x02")
_NEXTK1_SIZE = 10
_HALF = 9


class EnoGlobal(Element):
    """A global suboption: bits b and a; hosts ignore all but the first (section 4.2)."""

    name = "ENO global suboption"
    fields_desc: ClassVar[list[Any]] = [XByteField("bits", 0)]

    def mysummary(self) -> str:
        """The bits that are set."""
        return f"b={self.bits & 1} a={self.bits >> 1 & 1}" + (f" z={self.bits:#04x}" if self.bits > 3 else "")


class EnoTep(Element):
    """A TEP identifier with v = 0: an offer of a key exchange (RFC 8548 section 3.2)."""

    name = "ENO TEP"
    fields_desc: ClassVar[list[Any]] = [XByteEnumField("tep_byte", 0x23, TEPS)]

    def mysummary(self) -> str:
        """The TEP's name."""
        return name_of(self.tep_byte, TEPS)


class EnoTepWithData(Element):
    """A TEP identifier with v = 1 whose data extends to the option's end (section 4.4)."""

    name = "ENO TEP with data"
    fields_desc: ClassVar[list[Any]] = [XByteField("tep_byte", 0xA3), XStrField("data", b"")]

    def mysummary(self) -> str:
        """The TEP's name, half an identifier and nonce."""
        return _with_data(self.tep_byte, self.data)


class EnoTepWithLength(Element):
    """A TEP identifier with v = 1 behind a length byte, which has the data's length less one (section 4.4)."""

    name = "ENO TEP with length byte"
    fields_desc: ClassVar[list[Any]] = [
        FieldLenField("length_byte", None, fmt="B", length_of="data", adjust=lambda _, size: _V | size - 1),
        XByteField("tep_byte", 0xA3),
        XStrLenField("data", b"\0", length_from=lambda packet: (packet.length_byte & 0x1F) + 1),
    ]

    def mysummary(self) -> str:
        """The TEP's name, half an identifier and nonce."""
        return _with_data(self.tep_byte, self.data)


def _with_data(tep_byte: int, data: bytes) -> str:
    tep, start, half = tep_byte & ~_V, len(EXPERIMENT), _HALF
    name, rest = name_of(tep, TEPS), data
    if tep == _FIRST_TEP and data.startswith(EXPERIMENT) and any(data[start:]):
        if not data[start] & _V:
            return " or ".join(name_of(each, AGREEMENTS) for each in data[start:] if each)
        name, rest, half = name_of(data[start] & ~_V, AGREEMENTS), data[start + 1 :], EXPERIMENT_HALF
    elif tep == _FIRST_TEP:
        half = len(data) + 1
    if len(rest) < half:
        return f"{name} data {rest.hex()}".rstrip()
    return f"{name} session {rest[:half].hex()} nonce {rest[half:].hex() or 'empty'}"


def _suboption_class(option: Packet, found: list[Any], previous: Packet | None, rest: bytes) -> type[Packet] | None:
    """Scapy's question for the class of the next suboption; the first time, `rest` has what follows the option too."""
    if previous is None:
        rest = rest[: option.length - 2]
    if not rest:
        return None
    if rest[0] >= _FIRST_TEP_WITH_DATA:
        return EnoTepWithData
    if rest[0] >= _V:
        length = (rest[0] & ~_V) + 1
        return EnoTepWithLength if len(rest) >= 2 + length and rest[1] >= _FIRST_TEP_WITH_DATA else Malformed
    return EnoTep if rest[0] >= _FIRST_TEP else EnoGlobal


class EnoSynOption(OptionLayer):
    """The SYN-form ENO option with its suboptions (section 4.1)."""

    name = "ENO option of a SYN"
    fields_desc: ClassVar[list[Any]] = [
        *option_head(CRYPT, "suboptions"),
        PacketListField("suboptions", [], length_from=lambda packet: packet.length - 2, next_cls_cb=_suboption_class),
    ]

    def mysummary(self) -> str:
        """The suboptions."""
        return "ENO " + ", ".join(entry.mysummary() for entry in self.suboptions)


class EnoOption(OptionLayer):
    """The non-SYN-form ENO option, an acknowledgment by its presence (section 4.1)."""

    name = "ENO option"
    fields_desc: ClassVar[list[Any]] = [
        *option_head(CRYPT, "contents"),
        XStrLenField("contents", b"", length_from=lambda packet: packet.length - 2),
    ]

    def mysummary(self) -> str:
        """The contents, which hosts ignore."""
        return f"ENO {self.contents.hex()}".rstrip()


def eno_layer(value: bytes, in_syn: bool) -> type[Packet] | None:
    """The layer for an option 69 with this value; None for the CRYPT protocol's.

    A packet alone does not always tell. In a SYN or SYN ACK, ENO is what offers a TEP of tcpcrypt's, or the
    experimental one; elsewhere an empty option, which CRYPT has in SYNs only.
    """
    if not in_syn:
        return None if value else EnoOption
    if value in _CRYPT_OPENINGS or (len(value) == _NEXTK1_SIZE and value[0] in (NEXTK1, NEXTK1_SUPPORT)):
        return None
    suboptions = EnoSynOption(options.encode(CRYPT, value)).suboptions
    if any(isinstance(entry, Malformed) for entry in suboptions):
        return None
    teps = {entry.tep_byte & ~_V for entry in suboptions if not isinstance(entry, EnoGlobal)}
    return EnoSynOption if teps & TEPS.keys() else None
