"""Parts of options and messages: entries of lists, specs, and malformed bytes."""

from typing import Any, ClassVar

from scapy.fields import ByteEnumField, ByteField, XStrField
from scapy.packet import Packet

from tcpcryptd.dissect.names import CIPHERS, EXTENSIONS, MACS, PUBLIC_KEY_ALGORITHMS, name_of, shortened


class Malformed(Packet):
    """Bytes that lack the expected form."""

    name = "malformed"
    fields_desc: ClassVar[list[Any]] = [XStrField("data", b"")]

    def mysummary(self) -> str:
        """How many bytes, and the first of them."""
        return f"malformed {len(self.data)} bytes {shortened(self.data)}".rstrip()


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
