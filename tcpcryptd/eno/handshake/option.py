"""The TCP ENO option (RFC 8547 sections 4.1 to 4.4)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tcpcryptd.eno.constants import (
    APPLICATION_AWARE,
    ENO,
    FIRST_TEP,
    GLT_MASK,
    LAST_TEP,
    LENGTH_MASK,
    MAX_PREFIXED_DATA,
    PASSIVE_ROLE,
    V_BIT,
)
from tcpcryptd.wire import options
from tcpcryptd.wire.options import Option
from tcpcryptd.wire.reader import Reader, ReadError


class EnoOptionError(ValueError):
    """A SYN-form ENO option that breaks section 4.4, or suboptions that no such option can hold."""


@dataclass(slots=True)
class Suboption:
    """An offer of a TEP."""

    tep: int
    """TEP identifier, 7 bits, 0x20 to 0x7f."""
    data: bytes | None = None
    """Suboption data; None for v = 0."""
    prefixed: bool = field(default=False, compare=False)
    """A length byte is sent before it also when it is the last one, which needs none."""

    @property
    def tep_byte(self) -> int:
        """The suboption's first byte: v and the TEP identifier."""
        return self.tep if self.data is None else V_BIT | self.tep


@dataclass(slots=True)
class SynOption:
    """A SYN-form ENO option."""

    global_: int
    """The first global suboption, 5 bits; 0 when there is none (section 4.2)."""
    suboptions: tuple[Suboption, ...]
    """In the order of the option, which is that of increasing priority when host B sent it (section 4.5)."""
    raw: bytes
    """The option as it stands in the TCP header, with kind and length bytes, for the transcript (section 4.8)."""

    @property
    def passive_role(self) -> bool:
        """Bit b: the sender plays role B (section 4.3)."""
        return bool(self.global_ & PASSIVE_ROLE)

    @property
    def application_aware(self) -> bool:
        """Bit a (section 4.2)."""
        return bool(self.global_ & APPLICATION_AWARE)

    @property
    def is_vacuous(self) -> bool:
        """It offers no TEP (section 4.6)."""
        return not self.suboptions


def parse(value: bytes) -> SynOption:
    """The SYN-form option with this value, that is, without kind and length bytes; raises EnoOptionError."""
    global_: int | None = None
    suboptions = []
    reader = Reader(value)
    while reader.remaining:
        byte = reader.uint(1)
        glt = byte & GLT_MASK
        if glt >= FIRST_TEP:
            suboptions.append(Suboption(glt, reader.rest() if byte & V_BIT else None))
        elif byte & V_BIT:
            suboptions.append(_with_length(reader, (byte & LENGTH_MASK) + 1))
        elif global_ is None:
            global_ = glt
    return SynOption(global_ or 0, tuple(suboptions), options.encode(ENO, value))


def _with_length(reader: Reader, length: int) -> Suboption:
    try:
        byte, data = reader.uint(1), reader.take(length)
    except ReadError as error:
        raise EnoOptionError(f"data of {length} bytes beyond the option's end: {error}") from error
    if byte < V_BIT | FIRST_TEP:
        raise EnoOptionError(f"length byte before 0x{byte:02x}")
    return Suboption(byte & GLT_MASK, data)


def build(global_: int, suboptions: Sequence[Suboption], *, ordered: bool) -> SynOption:
    """The shortest option with these suboptions.

    Its global suboption comes first and is left out when 0. `ordered` keeps the suboptions' order, for which those
    with data that are not the last get a length byte; else one with data becomes the last and has none.

    Raises EnoOptionError for what cannot be encoded: a global suboption over 5 bits, no TEP identifier, data of none
    or more than 32 bytes that is not last, or more than 40 bytes in all.
    """
    if not 0 <= global_ < FIRST_TEP:
        raise EnoOptionError(f"global suboption 0x{global_:02x}")
    entries = list(suboptions) if ordered else _data_last(suboptions)
    parts = [bytes((global_,))] if global_ else []
    parts += [_encode(suboption, is_last=index == len(entries)) for index, suboption in enumerate(entries, 1)]
    value = b"".join(parts)
    if len(value) > options.MAX_LENGTH - 2:
        raise EnoOptionError(f"{len(value)} bytes of suboptions")
    return SynOption(global_, tuple(entries), options.encode(ENO, value))


def _data_last(suboptions: Sequence[Suboption]) -> list[Suboption]:
    # Data that no length byte can describe has the first claim to the last place.
    def claim(index: int) -> int:
        data = suboptions[index].data
        if data is None:
            return 0
        return 1 if 0 < len(data) <= MAX_PREFIXED_DATA else 2

    entries = list(suboptions)
    last = max(range(len(entries)), key=claim, default=None)
    if last is not None and claim(last):
        entries.append(entries.pop(last))
    return entries


def _encode(suboption: Suboption, *, is_last: bool) -> bytes:
    if not FIRST_TEP <= suboption.tep <= LAST_TEP:
        raise EnoOptionError(f"TEP identifier 0x{suboption.tep:02x}")
    data = suboption.data or b""
    encoded = bytes((suboption.tep_byte,)) + data
    if suboption.data is None or (is_last and not suboption.prefixed):
        return encoded
    if not 0 < len(data) <= MAX_PREFIXED_DATA:
        raise EnoOptionError(f"data of {len(data)} bytes in a suboption that is not the last")
    return bytes((V_BIT | len(data) - 1,)) + encoded


def is_present(option_list: Iterable[Option]) -> bool:
    """A segment has ENO options, one or more: the acknowledgment that the non-SYN form is (section 4.1)."""
    return any(kind == ENO for kind, _ in option_list)


def read(option_list: Iterable[Option]) -> SynOption | None:
    """The ENO option of a SYN's options; None without one, with several (section 4.1), and when it is ill-formed."""
    values = [value for kind, value in option_list if kind == ENO]
    if len(values) != 1:
        return None
    try:
        return parse(values[0])
    except EnoOptionError:
        return None
