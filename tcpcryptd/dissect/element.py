"""Parts of options and messages: entries of lists, specs, and malformed bytes."""

from typing import Any, ClassVar

from scapy.fields import ByteEnumField, ByteField, FieldLenField, XStrField
from scapy.packet import Packet

from tcpcryptd.dissect.names import CIPHERS, EXTENSIONS, MACS, PUBLIC_KEY_ALGORITHMS, name_of, shortened
from tcpcryptd.wire import options


class Malformed(Packet):
    """Bytes that lack the expected form."""

    name = "malformed"
    fields_desc: ClassVar[list[Any]] = [XStrField("data", b"")]

    def mysummary(self) -> str:
        """How many bytes, and the first of them."""
        return f"malformed {len(self.data)} bytes {shortened(self.data)}".rstrip()


class Checked(Packet):
    """A layer of which an instance is made for bytes that fit, and a Malformed for others."""

    dispatch_hook: ClassVar[Any]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        # Scapy looks for its hook in the class alone, not in what it inherits from.
        cls.dispatch_hook = classmethod(_dispatch)

    @classmethod
    def fits(cls, data: bytes) -> bool:
        """Whether the layer can be read from these bytes, of which there is at least one."""
        raise NotImplementedError


def _dispatch(cls: type[Checked], data: bytes = b"", *_: Any, **__: Any) -> type[Packet]:
    return cls if not data or cls.fits(data) else Malformed


class Element(Packet):
    """A part of an option or message, which has checked that it is whole; the bytes after it are the next one's."""

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        """Nothing of its own after the fields (scapy's name)."""
        return b"", s


class PublicKeySpec(Element):
    """A public-key spec, 3 bytes; key sizes in units of 512 bits (docs/crypt-option.md section 2)."""

    name = "public-key spec"
    fields_desc: ClassVar[list[Any]] = [
        ByteEnumField("algorithm", 0x02, PUBLIC_KEY_ALGORITHMS),
        ByteField("key_min", 4),
        ByteField("key_max", 4),
    ]

    def mysummary(self) -> str:
        """Algorithm and key sizes in bits; one size when both are the same. Or the room that extensions take."""
        if self.algorithm == EXTENSIONS:
            return f"extensions of {self.key_min << 8 | self.key_max} bytes"
        sizes = dict.fromkeys((self.key_min * 512, self.key_max * 512))
        return f"{name_of(self.algorithm, PUBLIC_KEY_ALGORITHMS)}/{'-'.join(map(str, sizes))}"


class SymmetricSpec(Element):
    """A symmetric spec, 4 bytes; cipher or MAC 0 means any (docs/crypt-option.md section 2)."""

    name = "symmetric spec"
    fields_desc: ClassVar[list[Any]] = [
        ByteField("reserved1", 0),
        ByteEnumField("cipher", 0x01, CIPHERS),
        ByteField("reserved2", 0),
        ByteEnumField("mac", 0x01, MACS),
    ]

    def mysummary(self) -> str:
        """Cipher and MAC."""
        return f"{name_of(self.cipher, CIPHERS)}/{name_of(self.mac, MACS)}"


class OptionLayer(Checked):
    """A whole TCP option; its first field is `kind`."""

    @classmethod
    def fits(cls, data: bytes) -> bool:
        """Whether the bytes are exactly one option of this kind."""
        kind = cls.fields_desc[0].default
        return len(data) >= 2 and data[0] == kind and data[1] == len(data) <= options.MAX_LENGTH


def option_head(kind: int, contents: str) -> list[Any]:
    """The fields of kind and length of an option; `contents`: the name of the field that follows."""
    length = FieldLenField("length", None, fmt="B", length_of=contents, adjust=lambda _, size: size + 2)
    return [ByteField("kind", kind), length]
