"""What a suboption of tcpcrypt's says: with its own TEPs (RFC 8548 section 3.5), and with the experiment's.

The experiment has TEP 0x20 and v = 1. Its data begins with the experiment's two bytes, so that no other use of 0x20 is
taken for it (docs/eno.md):

    experiment (2) | agreement (1), ...                                  a key exchange with one of these; 0 is none
    experiment (2) | 0x80 + agreement (1) | half (6) | nonce (0 to 8)    a session to resume

Schemes are named by `KeyScheme.code` here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tcpcryptd.crypto.key_scheme import EXPERIMENTAL_TEP
from tcpcryptd.eno.constants import EXPERIMENT, EXPERIMENT_HALF, MAX_RESUMPTION_NONCE, RESUMPTION_HALF
from tcpcryptd.eno.handshake.option import Suboption

_RESUMES: Final = 0x80
_PREFIX: Final = len(EXPERIMENT) + 1
_MAX_AGREEMENTS: Final = 2
_OFFER_LENGTH: Final = len(EXPERIMENT) + _MAX_AGREEMENTS


@dataclass(slots=True)
class Meaning:
    """What a suboption offers, or chooses."""

    codes: tuple[int, ...]
    """Of schemes, best first; of the one that the session was made with. Never empty."""
    half: bytes = field(default=b"", repr=False)
    """Of the identifier of a session to resume; empty for a key exchange."""
    nonce: bytes = b""
    """The resumption nonce, at most 8 bytes."""
    is_short: bool = False
    """v = 1 with less than half an identifier, a key exchange when host A sends it (RFC 8548 section 3.5)."""


def half_length(code: int) -> int:
    """Bytes of half an identifier as the SYN has it. With the experiment they are fewer, for its own bytes' sake."""
    return EXPERIMENT_HALF if _tep(code) == EXPERIMENTAL_TEP else RESUMPTION_HALF


def read(suboption: Suboption) -> Meaning | None:
    """What a suboption says; None: its data is not valid for its TEP, or is of another experiment."""
    tep, data = suboption.tep, suboption.data
    if tep == EXPERIMENTAL_TEP:
        return _experiment(data or b"")
    if data is None or len(data) < RESUMPTION_HALF:
        return Meaning((tep,), is_short=data is not None)
    if len(data) > RESUMPTION_HALF + MAX_RESUMPTION_NONCE:
        return None
    return Meaning((tep,), data[:RESUMPTION_HALF], data[RESUMPTION_HALF:])


def _experiment(data: bytes) -> Meaning | None:
    agreements = data[len(EXPERIMENT) : _PREFIX]
    if not agreements or not data.startswith(EXPERIMENT):
        return None
    if not agreements[0] & _RESUMES:
        named = data[len(EXPERIMENT) :]
        codes = tuple(_code(each) for each in named if each)
        # A later form may begin alike.
        return Meaning(codes) if codes and max(named) < _RESUMES else None
    nonce = _PREFIX + EXPERIMENT_HALF
    if not nonce <= len(data) <= nonce + MAX_RESUMPTION_NONCE:
        return None
    codes = (_code(agreements[0] & ~_RESUMES),)
    return Meaning(codes, data[_PREFIX:nonce], data[nonce:])


def fresh(codes: Iterable[int]) -> list[Suboption]:
    """What offers a key exchange with these schemes: TEPs of their own in the same order, then the experiment.

    The experiment's suboption always has a length byte and four bytes of data. So the original daemon, which exits on
    what it does not know there, takes it for a REKEY, and passes over it (docs/eno.md).
    """
    suboptions, agreements = [], bytearray()
    for code in codes:
        if _tep(code) == EXPERIMENTAL_TEP:
            agreements.append(code & 0xFF)
        else:
            suboptions.append(Suboption(code))
    if agreements:
        data = (EXPERIMENT + agreements[:_MAX_AGREEMENTS]).ljust(_OFFER_LENGTH, b"\0")
        suboptions.append(Suboption(EXPERIMENTAL_TEP, data, prefixed=True))
    return suboptions


def answering(code: int) -> Suboption:
    """What chooses a key exchange with one scheme."""
    if _tep(code) != EXPERIMENTAL_TEP:
        return Suboption(code)
    return Suboption(EXPERIMENTAL_TEP, EXPERIMENT + bytes((code & 0xFF,)))


def resuming(code: int, half: bytes, nonce: bytes) -> Suboption:
    """What names a session that was made with a scheme, `half` as long as `half_length` says."""
    if _tep(code) != EXPERIMENTAL_TEP:
        return Suboption(code, half + nonce)
    return Suboption(EXPERIMENTAL_TEP, EXPERIMENT + bytes((_RESUMES | code & 0xFF,)) + half + nonce)


def others(codes: Sequence[int], code: int) -> list[int]:
    """Those codes whose TEP is not that of `code`, since a SYN has one suboption of each."""
    return [each for each in codes if _tep(each) != _tep(code)]


def _tep(code: int) -> int:
    return code >> 8 or code


def _code(agreement: int) -> int:
    return EXPERIMENTAL_TEP << 8 | agreement
