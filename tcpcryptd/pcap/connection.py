"""One connection of a capture."""

from collections.abc import Iterable, Iterator

from tcpcryptd.crypto.key_log import CRYPT, ENO, KeyLogEntry
from tcpcryptd.dissect import Captured, CryptOption, EnoOption, EnoSynOption, Init1, Init2, init_message
from tcpcryptd.dissect.names import HYBRID, POST_QUANTUM
from tcpcryptd.dissect.segment import FLAG_NAMES
from tcpcryptd.pcap.chunk import Chunk, Kind
from tcpcryptd.pcap.crypt import CryptOpener
from tcpcryptd.pcap.identity import IdentityCheck
from tcpcryptd.pcap.keys import KeyBook
from tcpcryptd.pcap.side import Side
from tcpcryptd.pcap.stream import FrameKeys
from tcpcryptd.wire.segment import ACK, SYN, Segment
from tcpcryptd.wire.sequence import add

MAX_EVENTS = 64

Piece = tuple[Kind, int, bytes]
"""Kind, offset and bytes."""


class Connection:
    """Takes a connection's packets in order, and tells the kind of their payload."""

    def __init__(self, number: int, opener: str, answerer: str, keys: KeyBook) -> None:
        self.number = number
        self.opener = opener
        self.answerer = answerer
        self.sides = (Side(), Side())
        """The opener, and the host that it connected to."""
        self.protocol: str | None = None
        """CRYPT or ENO, from the first packet that shows it."""
        self.is_encrypted = False
        """Segments with a MAC, or both ends' ENO options, were captured."""
        self.events: list[tuple[float, bool, str]] = []
        """Handshake and changes of keys: time, whether the opener sent it, text; each text once."""
        self.more_events = 0
        self.entry: KeyLogEntry | None = None
        """Its keys, when the key log has them."""
        self.post_quantum = False
        """The key exchange is post-quantum; of `eno`, an earlier one's that is resumed, as well."""
        self._keys = keys
        self._identity = IdentityCheck()
        self._eno_offers = [False, False]
        self._known_events: set[tuple[bool, str]] = set()
        self._crypt_opener: CryptOpener | None = None
        self._has_keys = False

    @property
    def has_beginning(self) -> bool:
        """Whether the SYN or the SYN ACK was captured."""
        return any(side.isn is not None for side in self.sides)

    def add(self, captured: Captured, from_opener: bool) -> Iterator[Chunk]:
        """Takes a packet of the connection's; the pieces of its payload, then what was deciphered."""
        found = captured.dissection
        segment = found.segment
        if segment is None:
            return
        side = self.sides[not from_opener]
        side.segments += 1
        side.not_captured += found.missing
        if segment.flags & SYN:
            side.isn = segment.sequence
        self._identity.saw_options(segment, from_opener)
        self._note(captured, segment, from_opener)
        if found.missing:
            return
        at = side.offset(add(segment.sequence, bool(segment.flags & SYN)))
        if self.protocol == ENO and self.is_encrypted:
            began = side.frames.init
            pieces: Iterable[Piece] = list(self._frames(side, at, segment.payload))
            if side.frames.init != began:
                self._note_init(captured.time, side.frames.init, from_opener, is_long=found.message is None)
        else:
            pieces = self._whole(captured, side, at, segment)
        for kind, offset, data in pieces:
            if data:
                side.bytes[kind] += len(data)
                yield Chunk(self.number, from_opener, kind, offset, data, captured.number, captured.time)

    def _frames(self, side: Side, at: int, payload: bytes) -> Iterator[Piece]:
        self._find_keys()
        opened = list(side.frames.add(at, payload))
        side.authentic, side.failures = side.frames.authentic, side.frames.failures
        # Its size is known when its beginning has been read.
        boundary = min(max(side.frames.init_end - at, 0), len(payload))
        yield Kind.HANDSHAKE, at, payload[:boundary]
        yield Kind.CIPHERTEXT, at + boundary, payload[boundary:]
        yield from ((Kind.DECIPHERED, offset, data) for offset, data in opened)

    def _whole(self, captured: Captured, side: Side, at: int, segment: Segment) -> Iterator[Piece]:
        """A segment outside of frames is of one kind."""
        mac = captured.dissection.mac
        kind = self._kind(captured, mac)
        if kind is Kind.HANDSHAKE:
            side.message_length = segment.payload_length
        yield kind, at, segment.payload
        if mac is not None:
            yield Kind.DECIPHERED, at, self._open(side, segment, mac) or b""

    def _note(self, captured: Captured, segment: Segment, from_opener: bool) -> None:
        """Takes in what the options say."""
        found = captured.dissection
        shown = found.handshake_options
        if found.mac is not None:
            self.protocol, self.is_encrypted = CRYPT, True
        elif any(isinstance(option, CryptOption) for option in shown):
            self.protocol = CRYPT
        elif segment.flags & SYN and any(isinstance(option, EnoSynOption) for option in shown):
            self.protocol = ENO
            self._eno_offers[not from_opener] = True
            if not from_opener:
                self.post_quantum = any(HYBRID in option.mysummary() for option in shown)
        elif self.protocol == ENO and any(isinstance(option, EnoOption) for option in shown):
            self.is_encrypted |= all(self._eno_offers) and bool(segment.flags & ACK)
        if isinstance(found.message, Init1):
            self.post_quantum = found.message.public_key_spec.algorithm in POST_QUANTUM
        message = [found.message] if found.message is not None else []
        if shown or message:
            flags = " ".join(name for bit, name in enumerate(FLAG_NAMES) if segment.flags >> bit & 1)
            text = "; ".join([flags, *(layer.mysummary() for layer in [*shown, *message])])
            self._add_event(captured.time, from_opener, text)
        if isinstance(found.message, Init1 | Init2):
            self._add_identity(captured.time, from_opener, self._identity.saw_crypt(found.message, segment.payload))

    def _note_init(self, time: float, message: bytes, from_opener: bool, *, is_long: bool) -> None:
        """An Init message; `is_long`: it spans segments, so that none of them has shown it."""
        found = init_message(message)
        if found is not None and is_long:
            self._add_event(time, from_opener, found.mysummary())
        self._add_identity(time, from_opener, self._identity.saw_message(message, from_opener))

    def _add_identity(self, time: float, from_opener: bool, said: str | None) -> None:
        if said is not None:
            self._add_event(time, from_opener, said)

    def _add_event(self, time: float, from_opener: bool, text: str) -> None:
        if (from_opener, text) in self._known_events:
            return
        if len(self.events) < MAX_EVENTS:
            self._known_events.add((from_opener, text))
            self.events.append((time, from_opener, text))
        else:
            self.more_events += 1

    def _kind(self, captured: Captured, mac: bytes | None) -> Kind:
        if isinstance(captured.dissection.message, Init1 | Init2):
            return Kind.HANDSHAKE
        if mac is not None:
            return Kind.CIPHERTEXT
        return Kind.PLAIN if self.has_beginning or self.protocol is not None else Kind.UNKNOWN

    def _find_keys(self) -> KeyLogEntry | None:
        if not self._has_keys:
            opener, answerer = self.sides
            self._has_keys = True
            if self.protocol is not None and opener.isn is not None and answerer.isn is not None:
                self.entry = self._keys.find(self.protocol, opener.isn, answerer.isn)
                if self.entry is None:
                    # Who opened it is a matter of view when both did at once.
                    swapped = self._keys.find(self.protocol, answerer.isn, opener.isn)
                    self.entry = swapped.swapped() if swapped is not None else None
            if self.entry is not None and self.protocol == ENO:
                for side in self.sides:
                    keys = FrameKeys.of(self.entry, side is opener)
                    if keys is not None:
                        side.frames.keys = keys.find
        return self.entry

    def _open(self, side: Side, segment: Segment, mac: bytes) -> bytes | None:
        entry = self._find_keys()
        if entry is None or self.protocol != CRYPT:
            return None
        if self._crypt_opener is None:
            first, second = (add(each.isn or 0, 1 + each.message_length) for each in self.sides)
            self._crypt_opener = CryptOpener.of(entry, (first, second))
            if self._crypt_opener is None:
                return None
        plaintext = self._crypt_opener.open(segment, self.sides.index(side), mac)
        side.authentic += plaintext is not None
        side.failures += plaintext is None
        return plaintext
