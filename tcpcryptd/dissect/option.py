"""The CRYPT and MAC options (docs/crypt-option.md section 1), and all of ours in a header."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from scapy.fields import PacketListField, XStrLenField
from scapy.packet import Packet

from tcpcryptd.dissect.element import OptionLayer, option_head
from tcpcryptd.dissect.eno import eno_layer
from tcpcryptd.dissect.names import CRYPT, MAC
from tcpcryptd.dissect.suboption import suboption_class
from tcpcryptd.wire import options


class CryptOption(OptionLayer):
    """The CRYPT option with its suboptions; one without any is HELLO (docs/crypt-option.md section 1)."""

    name = "CRYPT option"
    fields_desc: ClassVar[list[Any]] = [
        *option_head(CRYPT, "suboptions"),
        PacketListField("suboptions", [], length_from=lambda packet: packet.length - 2, next_cls_cb=suboption_class),
    ]

    def mysummary(self) -> str:
        """The suboptions."""
        return "CRYPT " + (", ".join(entry.mysummary() for entry in self.suboptions) or "HELLO")


class MacOption(OptionLayer):
    """The MAC option: 20 bytes with HMAC-SHA1, 16 with ours (docs/crypt-option.md sections 1 and 6)."""

    name = "MAC option"
    fields_desc: ClassVar[list[Any]] = [
        *option_head(MAC, "mac"),
        XStrLenField("mac", b"", length_from=lambda packet: packet.length - 2),
    ]

    def mysummary(self) -> str:
        """The whole MAC."""
        return f"MAC {self.mac.hex()}"


_LAYERS: dict[int, type[Packet]] = {CRYPT: CryptOption, MAC: MacOption}


def read_options(area: bytes, *, in_syn: bool = True) -> Iterator[Packet]:
    """The CRYPT, ENO and MAC options of a header's option area as layers; raises wire.options.OptionError.

    Scapy's own parser stops at EOL, behind which the original daemon puts options (docs/crypt-option.md section 1).
    """
    return option_layers(options.parse(area), in_syn=in_syn)


def option_layers(values: Iterable[options.Option], *, in_syn: bool) -> Iterator[Packet]:
    """The CRYPT, ENO and MAC options of a header as layers."""
    for kind, value in values:
        layer = (eno_layer(value, in_syn) if kind == CRYPT else None) or _LAYERS.get(kind)
        if layer:
            yield layer(options.encode(kind, value))
