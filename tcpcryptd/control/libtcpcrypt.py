"""Datagrams of the original library's control protocol (docs/control-protocol.md#the-original-librarys-protocol).

They are C structures: addresses and ports are in network byte order, the other numbers in the host's.
"""

import enum
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from tcpcryptd.control.errors import BadMessage
from tcpcryptd.records.address import Address

MAX_DATAGRAM = 4096
"""Bytes; the library sends and takes no more than 1236."""
SET = 2
"""In the flags: an option is set, not read."""

_HEADER = struct.Struct("=I4s2s2x4s2s2xIIII")
"""Sequence number, source, port, destination, port, flags, error, option, length of what follows: 36 bytes."""
_RECORD = struct.Struct(">4sH2x4sHH")
"""Source, port, destination, port, length of the session ID that follows: 16 bytes."""


class LibraryOption(enum.IntEnum):
    """The options that the library knows."""

    ENABLE = 0
    CMODE = 1
    SESSID = 2
    APP_SUPPORT = 15
    RESET = 100
    NOCACHE = 101
    NETSTAT = 102


@dataclass(frozen=True, slots=True)
class LibraryMessage:
    """A request, or the answer, which repeats all but error and data."""

    sequence: int
    source: Address
    """The local end of the connection; port 0: the socket is not bound."""
    destination: Address
    """Port 0: the socket is not connected."""
    flags: int
    error: int
    """errno of an answer; 0: done."""
    option: int
    data: bytes
    """To read an option, as many bytes as the caller has room for."""

    @property
    def sets(self) -> bool:
        """Whether the option is to be set."""
        return bool(self.flags & SET)

    def answered(self, data: bytes = b"", error: int = 0) -> "LibraryMessage":
        """The answer."""
        return replace(self, data=data, error=error)

    def encode(self) -> bytes:
        """The datagram."""
        header = _HEADER.pack(
            self.sequence,
            IPv4Address(self.source.address).packed,
            self.source.port.to_bytes(2, "big"),
            IPv4Address(self.destination.address).packed,
            self.destination.port.to_bytes(2, "big"),
            self.flags,
            self.error,
            self.option,
            len(self.data),
        )
        return header + self.data

    @classmethod
    def decode(cls, datagram: bytes) -> "LibraryMessage":
        """Reads a datagram; raises BadMessage when a length is wrong."""
        if not _HEADER.size <= len(datagram) <= MAX_DATAGRAM:
            raise BadMessage(f"a datagram of {len(datagram)} bytes")
        sequence, source, port, destination, destination_port, flags, error, option, length = _HEADER.unpack_from(
            datagram
        )
        data = datagram[_HEADER.size :]
        if len(data) != length:
            raise BadMessage(f"{len(data)} bytes of data where {length} are announced")
        return cls(
            sequence,
            Address(str(IPv4Address(source)), int.from_bytes(port, "big")),
            Address(str(IPv4Address(destination)), int.from_bytes(destination_port, "big")),
            flags,
            error,
            option,
            data,
        )


@dataclass(frozen=True, slots=True)
class LibraryRecord:
    """An encrypted IPv4 connection in the answer to NETSTAT."""

    source: Address
    destination: Address
    session_id: bytes

    def encode(self) -> bytes:
        """The record, as it follows the one before."""
        ends = (self.source, self.destination)
        packed = [part for end in ends for part in (IPv4Address(end.address).packed, end.port)]
        return _RECORD.pack(*packed, len(self.session_id)) + self.session_id


def encode_records(records: Iterable[LibraryRecord], room: int) -> bytes:
    """As many whole records as there is room for, in bytes."""
    data = b""
    for record in records:
        encoded = record.encode()
        if len(data) + len(encoded) > room:
            break
        data += encoded
    return data


def decode_records(data: bytes) -> Iterator[LibraryRecord]:
    """The records of an answer; raises BadMessage when the last one is cut."""
    while data:
        if len(data) < _RECORD.size:
            raise BadMessage("a record is cut")
        source, port, destination, destination_port, length = _RECORD.unpack_from(data)
        session_id = data[_RECORD.size : _RECORD.size + length]
        if len(session_id) != length:
            raise BadMessage("a session ID is cut")
        yield LibraryRecord(
            Address(str(IPv4Address(source)), port),
            Address(str(IPv4Address(destination)), destination_port),
            session_id,
        )
        data = data[_RECORD.size + length :]
