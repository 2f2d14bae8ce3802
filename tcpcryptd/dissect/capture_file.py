"""The formats of captures: pcap and pcapng (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng), also with gzip.

Scapy has readers as well, which take most of the time of reading a long capture, and as much memory as a block says.
"""

import gzip
import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

MAX_PACKET = 1 << 20
"""Bytes of one packet; twice the largest that Linux has (BIG TCP), and four times what tcpdump takes of one."""
MAX_INTERFACES = 1 << 12
"""Of a section: more than a host has, and each takes memory."""
_SKIPPED_AT_ONCE = 1 << 16
_BUFFER = 1 << 18
_SECOND = 10**9
_GZIP = b"\x1f\x8b"
_PCAP = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
"""Byte order, and nanoseconds in a unit of the second part of times, by magic number."""
_BYTE_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_SECTION = b"\n\r\r\n"
_INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 2, 3, 6
_OPTION_RESOLUTION, _OPTION_OFFSET = 9, 14


class CaptureError(Exception):
    """A file that cannot be read or is no capture; the message says why."""


class Record(NamedTuple):
    """A packet as it stands in the file."""

    time: int
    """Nanoseconds since 1970; 0 where the file has none."""
    link_type: int
    """LINKTYPE_ number."""
    data: bytes
    """What was captured of it."""


class _Interface(NamedTuple):
    link_type: int
    snapshot_length: int
    units: int
    """Of its times, in a second."""
    offset: int
    """Seconds."""

    def time(self, high: int, low: int) -> int:
        return (high << 32 | low) * _SECOND // self.units + self.offset * _SECOND


class _Counting(io.FileIO):
    """Counts what is read of it."""

    count = 0

    def readinto(self, buffer: Any) -> int | None:
        """As the base class does."""
        size = super().readinto(buffer)
        self.count += size or 0
        return size


class _CutShort(Exception):
    """The file ends within a packet or a block."""


class CaptureFile:
    """The packets of a file, one at a time; `-` is standard input. Every method raises CaptureError."""

    def __init__(self, name: str) -> None:
        self.is_cut = False
        """The file ended within a packet, as that of a tcpdump that was killed does."""
        self._name = name
        try:
            self._raw = _Counting(0 if name == "-" else name, closefd=name != "-")
        except OSError as error:
            raise CaptureError(f"{name}: {error.strerror}") from error
        self._status = os.fstat(self._raw.fileno())
        # A pipe gives what is there.
        self._stream: IO[bytes] = io.BufferedReader(self._raw, _BUFFER)

    def __enter__(self) -> "CaptureFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._raw.close()

    @property
    def size(self) -> int | None:
        """Bytes; None of what is no regular file."""
        return self._status.st_size if stat.S_ISREG(self._status.st_mode) else None

    @property
    def position(self) -> int:
        """Bytes that were read, some ahead of the packets."""
        return self._raw.count

    def __iter__(self) -> Iterator[Record]:
        """The packets, also the captured part of one that the file's end cuts."""
        try:
            if self._stream.peek(2)[:2] == _GZIP:  # type: ignore[attr-defined]
                self._stream = io.BufferedReader(gzip.GzipFile(fileobj=self._stream), _BUFFER)
            magic = self._stream.read(4)
            if magic in _PCAP:
                yield from self._pcap(*_PCAP[magic])
            elif magic == _SECTION:
                yield from self._pcapng()
            else:
                raise CaptureError(f"{self._name}: neither pcap nor pcapng")
        except (_CutShort, EOFError):
            self.is_cut = True
        except (OSError, zlib.error) as error:
            raise CaptureError(f"{self._name}: {getattr(error, 'strerror', None) or error}") from error

    def _take(self, length: int) -> bytes:
        data = self._stream.read(length)
        if len(data) < length:
            raise _CutShort
        return data

    def _skip(self, length: int) -> None:
        while length > 0:
            length -= len(self._take(min(length, _SKIPPED_AT_ONCE)))

    def _damaged(self, why: str) -> CaptureError:
        return CaptureError(f"{self._name}: damaged: {why}")

    def _pcap(self, order: str, unit: int) -> Iterator[Record]:
        try:
            # The upper bits say how long the frame check sequence is.
            link_type = struct.unpack(order + "16xI", self._take(20))[0] & 0xFFFF
        except _CutShort:
            raise self._damaged("its header is cut") from None
        header = struct.Struct(order + "IIII")
        read = self._stream.read
        while fields := read(16):
            if len(fields) < 16:
                raise _CutShort
            seconds, units, length, _ = header.unpack(fields)
            if length > MAX_PACKET:
                raise self._damaged(f"a packet of {length} bytes")
            data = read(length)
            yield Record(seconds * _SECOND + units * unit, link_type, data)
            if len(data) < length:
                raise _CutShort

    def _pcapng(self) -> Iterator[Record]:
        order, interfaces = self._section(), list[_Interface]()
        while start := self._stream.read(8):
            if start[:4] == _SECTION:
                order, interfaces = self._section(start[4:]), []
                continue
            if len(start) < 8:
                raise _CutShort
            kind, length = struct.unpack(order + "II", start)
            padded = length + -length % 4
            if length < 12:
                raise self._damaged(f"a block of {length} bytes")
            if kind not in (_INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET):
                self._skip(padded - 8)
                continue
            if length > MAX_PACKET:
                raise self._damaged(f"a block of {length} bytes")
            block = self._take(padded - 8)
            if block[-4:] != start[4:]:
                raise self._damaged("the two lengths of a block differ")
            if kind == _INTERFACE:
                interfaces.append(self._interface(order, block[:-4], len(interfaces)))
                continue
            record = self._packet(order, kind, block[:-4], interfaces)
            if record is not None:
                yield record

    def _section(self, length: bytes | None = None) -> str:
        """Reads on behind a section header block's type, or its type and length; the byte order of what follows."""
        try:
            length = length or self._take(4)
            order = _BYTE_ORDERS.get(self._take(4))
            if order is None:
                raise self._damaged("no byte order")
            (size,) = struct.unpack(order + "I", length)
            (major,) = struct.unpack(order + "H2x", self._take(4))
            if major != 1 or size < 28:
                raise self._damaged(f"section of version {major}, {size} bytes")
            self._skip(size + -size % 4 - 16)
        except _CutShort:
            raise self._damaged("a section header is cut") from None
        return order

    def _interface(self, order: str, block: bytes, known: int) -> _Interface:
        if known == MAX_INTERFACES:
            raise self._damaged(f"more than {MAX_INTERFACES} interfaces")
        if len(block) < 8:
            raise self._damaged("an interface's block is short")
        link_type, snapshot_length = struct.unpack_from(order + "H2xI", block)
        units, offset, at = 10**6, 0, 8
        while at + 4 <= len(block):
            code, length = struct.unpack_from(order + "HH", block, at)
            value = block[at + 4 : at + 4 + length]
            if code == _OPTION_RESOLUTION and len(value) == 1:
                units = (2 if value[0] & 0x80 else 10) ** (value[0] & 0x7F)
            elif code == _OPTION_OFFSET and len(value) == 8:
                (offset,) = struct.unpack(order + "q", value)
            at += 4 + length + -length % 4
        return _Interface(link_type, snapshot_length, units, offset)

    def _packet(self, order: str, kind: int, block: bytes, interfaces: list[_Interface]) -> Record | None:
        start = 4 if kind == _SIMPLE_PACKET else 20
        if len(block) < start:
            raise self._damaged("a packet's block is short")
        index, high, low, length = 0, 0, 0, 0
        if kind == _SIMPLE_PACKET:
            (length,) = struct.unpack_from(order + "I", block)
        elif kind == _ENHANCED_PACKET:
            index, high, low, length = struct.unpack_from(order + "IIII", block)
        else:
            index, high, low, length = struct.unpack_from(order + "H2xIII", block)
        if index >= len(interfaces):
            raise self._damaged(f"a packet of interface {index}, which has no block")
        interface = interfaces[index]
        if kind == _SIMPLE_PACKET:
            length = min(length, interface.snapshot_length or length)
        if start + length > len(block):
            raise self._damaged(f"a packet of {length} bytes in a block of {len(block)}")
        return Record(interface.time(high, low), interface.link_type, block[start : start + length])
