"""What this host offers in its SYN: tcpcrypt's TEPs and a session to resume (RFC 8547 section 4, RFC 8548 3.2, 3.5)."""

import enum
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from tcpcryptd.eno import option
from tcpcryptd.eno.constants import APPLICATION_AWARE, MAX_RESUMPTION_NONCE, PASSIVE_ROLE, RESUMPTION_HALF
from tcpcryptd.eno.option import Suboption, SynOption
from tcpcryptd.wire import options


class EnoRole(enum.Enum):
    """One of the two ends of a connection (RFC 8547 section 4.3)."""

    A = "A"
    B = "B"


@dataclass(slots=True)
class Resumption:
    """A cached session that this host is willing to resume.

    Raises ValueError for an identifier or a nonce of the wrong length.
    """

    tep: int
    """Of the original session."""
    original_role: EnoRole
    """What this host was when ss[0] was made; it decides who sends which half, not the role of today."""
    identifier: bytes = field(repr=False)
    """resume[i], 18 bytes."""
    nonce: bytes
    """This host's resumption nonce, at most 8 bytes. A secret must never be used twice with the same nonces."""

    def __post_init__(self) -> None:
        if len(self.identifier) != 2 * RESUMPTION_HALF or len(self.nonce) > MAX_RESUMPTION_NONCE:
            raise ValueError(f"identifier of {len(self.identifier)} and nonce of {len(self.nonce)} bytes")

    @property
    def local_half(self) -> bytes:
        """The half of the identifier that this host sends, 9 bytes."""
        return self._half(self.original_role is EnoRole.A)

    @property
    def remote_half(self) -> bytes:
        """The half that the peer has to send, 9 bytes."""
        return self._half(self.original_role is EnoRole.B)

    @property
    def suboption(self) -> Suboption:
        """What names the session in this host's SYN (RFC 8548 Figures 2 and 3)."""
        return Suboption(self.tep, self.local_half + self.nonce)

    def is_named_by(self, received: Suboption) -> bool:
        """The peer's suboption is of the session's TEP and has the half that the peer has to send."""
        if received.tep != self.tep or not is_resumption(received):
            return False
        return hmac.compare_digest(received.data[:RESUMPTION_HALF] if received.data else b"", self.remote_half)

    def _half(self, first: bool) -> bytes:
        return self.identifier[:RESUMPTION_HALF] if first else self.identifier[RESUMPTION_HALF:]


@dataclass(slots=True)
class Offer:
    """What this host sends in its SYN, and what it needs to know to understand the answer."""

    option: SynOption
    resumption: Resumption | None = None
    """The session that one of the option's suboptions names."""
    require_aware: bool = False
    """Mandatory application-aware mode (RFC 8547 section 4.2)."""


def is_resumption(suboption: Suboption) -> bool:
    """Its data is long enough to name a session; shorter data of host A's counts as v = 0 (RFC 8548 section 3.5)."""
    return suboption.data is not None and len(suboption.data) >= RESUMPTION_HALF


def is_well_formed(suboption: Suboption) -> bool:
    """Its data is valid for a tcpcrypt TEP: behind half an identifier is a nonce of at most 8 bytes (section 3.5)."""
    return suboption.data is None or len(suboption.data) <= RESUMPTION_HALF + MAX_RESUMPTION_NONCE


def propose(
    teps: Sequence[int],
    *,
    resumption: Resumption | None = None,
    aware: bool = False,
    require_aware: bool = False,
    passive_role: bool = False,
    space: int = options.MAX_LENGTH,
) -> Offer | None:
    """What an active opener sends.

    Args:
        teps: TEP identifiers, best first. What does not fit is left out from the end, and then `resumption`.
        resumption: A session to resume; it is not offered when its TEP is not among `teps`.
        aware: Bit a; `require_aware` sets it, too.
        require_aware: Mandatory application-aware mode.
        passive_role: Bit b, for one side of a simultaneous open.
        space: Bytes for the whole option.

    Returns:
        None when there is no TEP or none fits.
    """
    global_ = global_suboption(passive_role=passive_role, aware=aware or require_aware)
    if resumption is not None and resumption.tep in teps:
        fresh = [tep for tep in teps if tep != resumption.tep]
        resumable = fitting(global_, fresh, resumption.suboption, space=space)
        if resumable is not None:
            return Offer(resumable, resumption, require_aware)
    plain = fitting(global_, teps, space=space)
    return None if plain is None or plain.is_vacuous else Offer(plain, None, require_aware)


def fitting(global_: int, teps: Sequence[int], *last: Suboption, space: int) -> SynOption | None:
    """An option with as many TEPs as fit, and then `last`; None when even `last` does not fit."""
    room = min(space, options.MAX_LENGTH) - len(option.build(global_, last, ordered=True).raw)
    return option.build(global_, (*map(Suboption, teps[:room]), *last), ordered=True) if room >= 0 else None


def global_suboption(*, passive_role: bool, aware: bool) -> int:
    """The global suboption's value; reserved bits are zero (RFC 8547 section 4.2)."""
    return (PASSIVE_ROLE if passive_role else 0) | (APPLICATION_AWARE if aware else 0)
