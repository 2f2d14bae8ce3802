"""What two SYNs' ENO options come to (RFC 8547 sections 4.3, 4.5, 4.6 and 4.8; RFC 8548 sections 3.2 and 3.5)."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tcpcryptd.eno.constants import PASSIVE_ROLE, RESUMPTION_HALF
from tcpcryptd.eno.offer import (
    EnoRole,
    Offer,
    Resumption,
    fitting,
    global_suboption,
    is_resumption,
    is_well_formed,
)
from tcpcryptd.eno.option import Suboption, SynOption
from tcpcryptd.wire import options


class Reason(enum.StrEnum):
    """Why encryption is disabled (RFC 8547 section 4.6)."""

    NO_OPTION = "the peer's SYN has no ENO option, or none that can be read"
    SAME_ROLE = "both ends want the same role"
    NOT_AWARE = "the peer's application is not aware of TCP-ENO"
    VACUOUS = "the peer's ENO option offers no TEP"
    NO_COMMON_TEP = "no TEP is valid for both ends"
    NO_SPACE = "the SYN ACK has no space for the option"


@dataclass(frozen=True, slots=True)
class NotNegotiated:
    """The connection falls back to TCP without encryption."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Resumed:
    """Both ends named the same session."""

    resumption: Resumption
    remote_nonce: bytes
    """The peer's resumption nonce, 0 to 8 bytes."""

    @property
    def session_nonce(self) -> bytes:
        """sn[i]: the nonce of the host that was A in the original session, then that of B (RFC 8548 section 3.5)."""
        local = self.resumption.nonce
        is_first = self.resumption.original_role is EnoRole.A
        return local + self.remote_nonce if is_first else self.remote_nonce + local


@dataclass(slots=True)
class Negotiated:
    """A TEP is negotiated. Encryption is enabled once an ACK with an ENO option went each way (RFC 8547 4.6)."""

    tep: int
    """TEP identifier, 7 bits."""
    tep_byte: int
    """The same with bit v as host B sent it, the first byte of the session ID (RFC 8547 section 5.1)."""
    role: EnoRole
    """Of the local host."""
    peer_aware: bool
    """The peer's bit a."""
    transcript: bytes
    """Host A's ENO option, then host B's, whole (RFC 8547 section 4.8)."""
    resumed: Resumed | None
    """None for a key exchange."""


def negotiate(local: Offer, remote: SynOption | None) -> Negotiated | NotNegotiated:
    """The negotiation's result.

    `remote` is the option of the peer's SYN, None when it has none that can be read. The result does not depend on who
    sent its SYN first, and the peer, if it has cached the same session, comes to the same one.
    """
    if remote is None:
        return NotNegotiated(Reason.NO_OPTION)
    refusal = _refusal(local.option.global_, local.require_aware, remote)
    if refusal is not None:
        return NotNegotiated(refusal)
    role = EnoRole.B if local.option.passive_role else EnoRole.A
    a, b = (local.option, remote) if role is EnoRole.A else (remote, local.option)
    chosen = _last_valid(a, b, lambda from_a, from_b: _resumes(local, role, from_a, from_b))
    if chosen is None:
        return NotNegotiated(Reason.VACUOUS if remote.is_vacuous else Reason.NO_COMMON_TEP)
    from_a, from_b = chosen
    resumed = None
    if is_resumption(from_b) and local.resumption is not None:
        received = (from_b if role is EnoRole.A else from_a).data or b""
        resumed = Resumed(local.resumption, received[RESUMPTION_HALF:])
    return Negotiated(from_b.tep, from_b.tep_byte, role, remote.application_aware, a.raw + b.raw, resumed)


def _refusal(global_: int, require_aware: bool, remote: SynOption) -> Reason | None:
    """What makes the peer's global suboption incompatible with ours (RFC 8547 section 4.6)."""
    if bool(global_ & PASSIVE_ROLE) == remote.passive_role:
        return Reason.SAME_ROLE
    if require_aware and not remote.application_aware:
        return Reason.NOT_AWARE
    return None


def _last_valid(
    a: SynOption, b: SynOption, resumes: Callable[[Suboption, Suboption], bool]
) -> tuple[Suboption, Suboption] | None:
    """Host A's and host B's suboption of the negotiated TEP (RFC 8547 section 4.5).

    A suboption of B's with data that is no resumption of this session is ignored (RFC 8548 section 3.5), before
    anything else: also one that is too short to name any, which only what host A sends can be. Of the rest, tcpcrypt
    defines no meaning for several with one TEP, which make that TEP invalid.
    """
    offered = {entry.tep: entry for entry in _single(a.suboptions)}
    candidates = [
        entry
        for entry in b.suboptions
        if entry.data is None or (is_resumption(entry) and entry.tep in offered and resumes(offered[entry.tep], entry))
    ]
    for entry in reversed(_single(candidates)):
        if entry.tep in offered:
            return offered[entry.tep], entry
    return None


def _single(suboptions: Sequence[Suboption]) -> list[Suboption]:
    """The well-formed suboptions whose TEP no other has."""
    teps = [entry.tep for entry in suboptions]
    return [entry for entry in suboptions if is_well_formed(entry) and teps.count(entry.tep) == 1]


def _resumes(local: Offer, role: EnoRole, from_a: Suboption, from_b: Suboption) -> bool:
    """Both hosts named the session that this host has in mind (RFC 8548 section 3.5)."""
    sent, received = (from_a, from_b) if role is EnoRole.A else (from_b, from_a)
    resumption = local.resumption
    return resumption is not None and sent == resumption.suboption and resumption.is_named_by(received)


def choose(
    received: SynOption,
    teps: Sequence[int],
    find_session: Callable[[int, bytes], Resumption | None],
    *,
    aware: bool = False,
    require_aware: bool = False,
    space: int = options.MAX_LENGTH,
) -> Offer | NotNegotiated:
    """What a passive opener answers: solely the TEP that it wishes, with b = 1 (RFC 8547 4.2 and 4.5, RFC 8548 3.2).

    A session that is offered and found is resumed before any key exchange, in the order of `teps`; of several TEPs
    that both ends have, the first of `teps` is taken. `negotiate` gives the result for the answer.

    Args:
        received: The option of the peer's SYN.
        teps: TEP identifiers, best first.
        find_session: Takes a TEP identifier and the half of a resumption identifier that the peer sent, 9 bytes; gives
            a session of that TEP whose other half is the local one and whose secret has not been used.
        aware: Bit a; `require_aware` sets it, too.
        require_aware: Mandatory application-aware mode.
        space: Bytes for the whole option. A resumption that does not fit becomes a key exchange.
    """
    global_ = global_suboption(passive_role=True, aware=aware or require_aware)
    refusal = _refusal(global_, require_aware, received)
    if refusal is not None:
        return NotNegotiated(refusal)
    offered = {entry.tep: entry for entry in _single(received.suboptions)}
    wanted = [offered[tep] for tep in teps if tep in offered]
    if not wanted:
        return NotNegotiated(Reason.VACUOUS if received.is_vacuous else Reason.NO_COMMON_TEP)
    for entry in filter(is_resumption, wanted):
        resumption = find_session(entry.tep, (entry.data or b"")[:RESUMPTION_HALF])
        if resumption is not None and resumption.is_named_by(entry):
            answer = fitting(global_, (), resumption.suboption, space=space)
            if answer is not None:
                return Offer(answer, resumption, require_aware)
    answer = fitting(global_, (), Suboption(wanted[0].tep), space=space)
    return NotNegotiated(Reason.NO_SPACE) if answer is None else Offer(answer, None, require_aware)
