"""One direction of a TCP-ENO connection: the Init message, then frames (RFC 8548 section 3.6)."""

from collections.abc import Callable, Iterator

from tcpcryptd.crypto import tcpcrypt_schedule as schedule
from tcpcryptd.crypto.frame_aead import FRAME_AEADS, FrameAead, FrameProtection
from tcpcryptd.crypto.key_log import KeyLogEntry
from tcpcryptd.dissect import FramePlaintext, Malformed
from tcpcryptd.dissect.tcpcrypt import FRAME_HEADER_SIZE, INIT_PREFIX_SIZE, MIN_CLEN, init_length
from tcpcryptd.pcap.reassembly import Reassembly

_MAX_INIT = 1 << 16
"""Bytes, a limit of ours; tcpcryptd itself takes 8192."""

FindKeys = Callable[[int], FrameProtection | None]
"""The protection of generation j; None: it cannot be had."""


class FrameKeys:
    """The traffic keys of one direction. Generations are asked for in order."""

    def __init__(self, entry: KeyLogEntry, aead: FrameAead, from_opener: bool) -> None:
        self._aead = aead
        self._generation = entry.generation
        self._master = entry.master
        self._index = 0 if from_opener == (entry.opener_role == "a") else 1
        self._protection = self._derive()

    @classmethod
    def of(cls, entry: KeyLogEntry, from_opener: bool) -> "FrameKeys | None":
        """None for an AEAD algorithm that is not known."""
        identifier = int.from_bytes(entry.suite, "big")
        aead = next((each for each in FRAME_AEADS if each.identifier == identifier), None)
        return None if aead is None else cls(entry, aead, from_opener)

    def find(self, generation: int) -> FrameProtection | None:
        """The keys of a generation; None before the one that the key log begins with."""
        if generation < self._generation:
            return None
        while self._generation < generation:
            self._master = schedule.next_master_key(self._master)
            self._generation += 1
            self._protection = self._derive()
        return self._protection

    def _derive(self) -> FrameProtection:
        return self._aead.protection(schedule.traffic_key(self._master, self._aead, self._index))


class FrameStream:
    """Follows the frames, and deciphers them if there are keys."""

    def __init__(self) -> None:
        self._stream = Reassembly()
        self._at_start = True
        self.keys: FindKeys = lambda _: None
        self.init_end = 0
        """Offset behind the Init message; 0 without one."""
        self.init = b""
        """The Init message, once it is whole."""
        self.frames = 0
        self.generation = 0
        self.authentic = 0
        self.failures = 0
        """Frames that are not authentic although there are keys for them."""
        self.data_end = 0
        """Bytes of data in the frames so far; those that were not deciphered count as if they were not urgent."""
        self.is_broken = False
        """What follows is no frame."""

    @property
    def has_hole(self) -> bool:
        """A segment is missing in the capture, and what comes behind it was not followed."""
        return self._stream.has_hole

    def add(self, offset: int, payload: bytes) -> Iterator[tuple[int, bytes]]:
        """Adds the payload of a segment; the deciphered data of frames that it completes, with their offsets."""
        self._stream.add(offset, payload)
        if self._at_start and not self._skip_init():
            return
        while (frame := self._next_frame()) is not None:
            at, header, ciphertext = frame
            self.frames += 1
            self.generation += header[0] & 1
            protection = self.keys(self.generation)
            if protection is None:
                self.data_end += len(ciphertext) - MIN_CLEN
                continue
            plaintext = protection.open(at, header, ciphertext)
            opened = FramePlaintext(plaintext) if plaintext else None
            if opened is None or isinstance(opened, Malformed):
                self.failures += 1
                self.data_end += len(ciphertext) - MIN_CLEN
                continue
            self.authentic += 1
            start, self.data_end = self.data_end, self.data_end + len(opened.data)
            if opened.data:
                yield start, bytes(opened.data)

    def _skip_init(self) -> bool:
        head = bytes(self._stream.head[:INIT_PREFIX_SIZE])
        if len(head) < INIT_PREFIX_SIZE:
            return False
        length = init_length(head)
        if length is not None:
            if not INIT_PREFIX_SIZE <= length <= _MAX_INIT:
                self.is_broken = True
                return False
            self.init_end = length
            if len(self._stream.head) < length:
                return False
            self.init = self._stream.take(length)
        self._at_start = False
        return True

    def _next_frame(self) -> tuple[int, bytes, bytes] | None:
        head = self._stream.head
        if self.is_broken or len(head) < FRAME_HEADER_SIZE:
            return None
        clen = int.from_bytes(head[1:FRAME_HEADER_SIZE], "big")
        if clen < MIN_CLEN:
            self.is_broken = True
            return None
        if len(head) < FRAME_HEADER_SIZE + clen:
            return None
        at = self._stream.start
        return at, self._stream.take(FRAME_HEADER_SIZE), self._stream.take(clen)
