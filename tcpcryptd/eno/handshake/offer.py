"""What this host offers in its SYN: tcpcrypt's TEPs and a session to resume (RFC 8547 section 4, RFC 8548 3.2, 3.5)."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from tcpcryptd.eno.constants import APPLICATION_AWARE, MAX_RESUMPTION_NONCE, PASSIVE_ROLE, RESUMPTION_HALF
from tcpcryptd.eno.handshake import option, tep
from tcpcryptd.eno.handshake.option import EnoOptionError, Suboption, SynOption
from tcpcryptd.eno.role import EnoRole
from tcpcryptd.wire import options


@dataclass(slots=True)
class Resumption:
    """A cached session that this host is willing to resume.

    Raises ValueError for an identifier or a nonce of the wrong length.
    """

    code: int
    """Of the original session's scheme."""
    original_role: EnoRole
    """This host's role when ss[0] was made; it decides who sends which half, not the present role."""
    identifier: bytes = field(repr=False)
    """resume[i], 18 bytes."""
    nonce: bytes
    """This host's resumption nonce, at most 8 bytes. A secret must never be used twice with the same nonces."""

    def __post_init__(self) -> None:
        if len(self.identifier) != 2 * RESUMPTION_HALF or len(self.nonce) > MAX_RESUMPTION_NONCE:
            raise ValueError(f"identifier of {len(self.identifier)} and nonce of {len(self.nonce)} bytes")

    @property
    def local_half(self) -> bytes:
        """What this host sends of its half of the identifier, 9 bytes or 6."""
        return self._half(self.original_role is EnoRole.A)

    @property
    def remote_half(self) -> bytes:
        """The same of the half that the peer has to send."""
        return self._half(self.original_role is EnoRole.B)

    @property
    def suboption(self) -> Suboption:
        """What names the session in this host's SYN (RFC 8548 Figures 2 and 3)."""
        return tep.resuming(self.code, self.local_half, self.nonce)

    def is_named_by(self, received: Suboption) -> bool:
        """The peer's suboption is of the session's scheme and has the half that the peer has to send."""
        meaning = tep.read(received)
        if meaning is None or meaning.codes != (self.code,):
            return False
        return hmac.compare_digest(meaning.half, self.remote_half)

    def _half(self, first: bool) -> bytes:
        start = 0 if first else RESUMPTION_HALF
        return self.identifier[start : start + tep.half_length(self.code)]


@dataclass(slots=True)
class Offer:
    """What this host sends in its SYN, and what it needs to know to understand the answer."""

    option: SynOption
    resumption: Resumption | None = None
    """The session that one of the option's suboptions names."""
    require_aware: bool = False
    """Mandatory application-aware mode (RFC 8547 section 4.2)."""

    def has(self, code: int) -> bool:
        """Whether a key exchange with this scheme can come of it."""
        meanings = map(tep.read, self.option.suboptions)
        return any(meaning is not None and code in meaning.codes for meaning in meanings)


def propose(
    codes: Sequence[int],
    *,
    resumption: Resumption | None = None,
    aware: bool = False,
    require_aware: bool = False,
    passive_role: bool = False,
    space: int = options.MAX_LENGTH,
) -> Offer | None:
    """What an active opener sends.

    Args:
        codes: Of schemes, best first. What does not fit is left out from the end, and then `resumption`.
        resumption: A session to resume; it is not offered when its scheme is not among `codes`.
        aware: Bit a; `require_aware` sets it, too.
        require_aware: Mandatory application-aware mode.
        passive_role: Bit b, for one side of a simultaneous open.
        space: Bytes for the whole option.

    Returns:
        None when there is no scheme or none fits.
    """
    global_ = global_suboption(passive_role=passive_role, aware=aware or require_aware)
    if resumption is not None and resumption.code in codes:
        resumable = fitting(global_, tep.others(codes, resumption.code), resumption.suboption, space=space)
        if resumable is not None:
            return Offer(resumable, resumption, require_aware)
    plain = fitting(global_, codes, space=space)
    return None if plain is None or plain.is_vacuous else Offer(plain, None, require_aware)


def fitting(global_: int, codes: Sequence[int], *last: Suboption, space: int) -> SynOption | None:
    """An option with a key exchange by as many schemes as fit, and then `last`; None when even `last` does not fit."""
    whole = _built(global_, codes, last, space)
    if whole is not None or not codes:
        return whole
    chosen: list[int] = []
    for code in codes:
        if _built(global_, (*chosen, code), last, space) is not None:
            chosen.append(code)
    return _built(global_, chosen, last, space)


def _built(global_: int, codes: Sequence[int], last: Sequence[Suboption], space: int) -> SynOption | None:
    try:
        found = option.build(global_, (*tep.fresh(codes), *last), ordered=True)
    except EnoOptionError:
        return None
    return found if len(found.raw) <= space else None


def global_suboption(*, passive_role: bool, aware: bool) -> int:
    """The global suboption's value; reserved bits are zero (RFC 8547 section 4.2)."""
    return (PASSIVE_ROLE if passive_role else 0) | (APPLICATION_AWARE if aware else 0)
