"""Opens the segments of a CRYPT connection from both sides (docs/crypt-option.md sections 5, 6 and 9)."""

import struct

from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.key_log import KeyLogEntry
from tcpcryptd.crypto.segment import SegmentProtection
from tcpcryptd.crypto.suites import SYMMETRIC_SUITES, SymmetricSuite
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import FIN, Segment
from tcpcryptd.wire.sequence import MASK, extend

_M = struct.Struct(">HHBBHQ")
_A = struct.Struct(">Q")
_MAGIC = 0x8000
_NOT_COVERED = frozenset((options.EOL, options.NOP, options.TIMESTAMP, 16, 17, options.MD5_SIGNATURE, 70))
"""Options that do not enter the MAC (docs/crypt-option.md section 6)."""


class CryptOpener:
    """Verifies and deciphers. Side 0 is the connection's opener."""

    def __init__(self, entry: KeyLogEntry, suite: SymmetricSuite, starts: tuple[int, int]) -> None:
        """`starts`: the sequence number of each side's first byte behind its handshake message."""
        self._entry = entry
        self._suite = suite
        self._mask = MASK << 32 | MASK if suite.extended_sequence else MASK
        self._next = list(starts)
        self._current = [0, 0]
        self._master = entry.master
        self._generations: list[tuple[SegmentProtection, SegmentProtection]] = []

    @classmethod
    def of(cls, entry: KeyLogEntry, starts: tuple[int, int]) -> "CryptOpener | None":
        """None for a suite that is not known."""
        suite = next((each for each in SYMMETRIC_SUITES if each.spec == entry.suite), None)
        return None if suite is None else cls(entry, suite, starts)

    def open(self, segment: Segment, side: int, tag: bytes) -> bytes | None:
        """The plaintext of a segment that is authentic, else None."""
        extended = extend(segment.sequence, self._next[side])
        number = extended & self._mask
        acknowledgment = extend(segment.acknowledgment, self._next[1 - side]) & self._mask
        packet, offset = segment.packet, segment.offset
        header = _M.pack(_MAGIC, len(packet) - offset, packet[offset + 12] >> 4, segment.flags, segment.urgent, number)
        covered = b"".join(options.encode(*entry) for entry in segment.options if entry[0] not in _NOT_COVERED)
        current = self._current[side]
        for generation in (current, current + 1, current - 1):
            if generation < 0:
                continue
            protection = self._protection(generation, side)
            plaintext = protection.open(number, header, _A.pack(acknowledgment), covered, segment.payload, tag)
            if plaintext is not None:
                self._current[side] = max(current, generation)
                self._next[side] = max(self._next[side], extended + len(plaintext) + (segment.flags & FIN))
                return plaintext
        return None

    def _protection(self, generation: int, side: int) -> SegmentProtection:
        while generation >= len(self._generations):
            if self._generations:
                self._master = key_schedule.next_master_key(self._master)
            keys = key_schedule.traffic_keys(self._master, mac=self._suite.has_mac_key)
            client = self._suite.protection(keys.client_encryption, keys.client_mac)
            server = self._suite.protection(keys.server_encryption, keys.server_mac)
            pair = (client, server) if self._entry.opener_role == "client" else (server, client)
            self._generations.append(pair)
        return self._generations[generation][side]
