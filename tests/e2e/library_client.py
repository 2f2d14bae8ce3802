"""A program that uses the original library's control protocol, with its structures as a C compiler lays them out.

Arguments are the server's address, the library's port and commands in JSON: `["connect", port, options]` binds a
socket, sets the options (pairs of option and number), connects it and asks for the session ID; `["get", option, room]`
and `["set", option, number]` are about that socket, `["peek", local end, remote end]` about another one. The results
are printed as a JSON array.
"""

import ctypes
import json
import socket
import sys
from typing import Any

SERVER = sys.argv[1]
LIBRARY_PORT = int(sys.argv[2])
SET = 2
SESSID = 2
NETSTAT = 102


class Control(ctypes.Structure):
    """struct tcpcrypt_ctl; in_addr is a 32-bit integer to the compiler."""

    _fields_ = (
        ("seq", ctypes.c_uint32),
        ("src", ctypes.c_uint32),
        ("sport", ctypes.c_uint16),
        ("dst", ctypes.c_uint32),
        ("dport", ctypes.c_uint16),
        ("flags", ctypes.c_uint32),
        ("err", ctypes.c_uint32),
        ("opt", ctypes.c_uint32),
        ("dlen", ctypes.c_uint32),
    )


class Netstat(ctypes.Structure):
    """struct tc_netstat."""

    _fields_ = (
        ("sip", ctypes.c_uint32),
        ("sport", ctypes.c_uint16),
        ("dip", ctypes.c_uint32),
        ("dport", ctypes.c_uint16),
        ("len", ctypes.c_uint16),
    )


def packed(address: str) -> int:
    """The address as it lies in memory."""
    return int.from_bytes(socket.inet_aton(address), sys.byteorder)


class Library:
    def __init__(self) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.settimeout(20)
        self.sequence = 0

    def call(
        self, local: tuple[str, int], remote: tuple[str, int], flags: int, option: int, data: bytes
    ) -> tuple[int, bytes]:
        self.sequence += 1
        ports = socket.htons(local[1]), socket.htons(remote[1])
        request = Control(
            self.sequence, packed(local[0]), ports[0], packed(remote[0]), ports[1], flags, 0, option, len(data)
        )
        self.udp.sendto(bytes(request) + data, ("127.0.0.1", LIBRARY_PORT))
        answer = self.udp.recv(4096)
        header = Control.from_buffer_copy(answer)
        value = answer[ctypes.sizeof(Control) :]
        if (header.seq, header.opt, header.dlen) != (self.sequence, option, len(value)):
            raise ValueError("not the answer to the request")
        return header.err, value


def records(data: bytes) -> list[list[Any]]:
    found = []
    while data:
        record = Netstat.from_buffer_copy(data)
        size = ctypes.sizeof(Netstat)
        length = socket.ntohs(record.len)
        found.append([socket.ntohs(record.sport), socket.ntohs(record.dport), data[size : size + length].hex()])
        data = data[size + length :]
    return found


def main() -> None:
    library, client = Library(), socket.socket()
    ends = ("0.0.0.0", 0), ("0.0.0.0", 0)
    results: list[Any] = []
    for command, first, second in map(json.loads, sys.argv[3:]):
        if command == "connect":
            client = socket.socket()
            client.bind(("0.0.0.0", 0))
            nowhere = ("0.0.0.0", 0)
            integers = [(option, number.to_bytes(4, sys.byteorder)) for option, number in second]
            errors = [library.call(client.getsockname(), nowhere, SET, *each)[0] for each in integers]
            client.connect((SERVER, first))
            # Kept, since a socket that was reset has no peer.
            ends = client.getsockname(), client.getpeername()
            # At once, as programs do.
            error, value = library.call(*ends, 0, SESSID, bytes(100))
            results.append([*errors, error, value.hex()])
        elif command == "peek":
            results.append(library.call(tuple(first), tuple(second), 0, SESSID, bytes(100))[0])
        else:
            data = bytes(second) if command == "get" else second.to_bytes(4, sys.byteorder)
            flags = SET if command == "set" else 0
            error, value = library.call(*ends, flags, first, data)
            results.append([error, records(value) if first == NETSTAT else value.hex()])
    print(json.dumps(results))  # noqa: T201 (its output)


if __name__ == "__main__":
    main()
