"""The result of two SYNs' ENO options (RFC 8547 sections 4.3, 4.5, 4.6 and 4.8; RFC 8548 sections 3.2 and 3.5)."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tcpcryptd.crypto.key_scheme import EXPERIMENTAL_TEP
from tcpcryptd.eno.constants import PASSIVE_ROLE
from tcpcryptd.eno.handshake import tep
from tcpcryptd.eno.handshake.offer import Offer, Resumption, fitting, global_suboption
from tcpcryptd.eno.handshake.option import Suboption, SynOption
from tcpcryptd.eno.handshake.tep import Meaning
from tcpcryptd.eno.role import EnoRole
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

    code: int
    """Of the scheme."""
    tep_byte: int
    """TEP identifier with bit v as host B sent it, the first byte of the session ID (RFC 8547 section 5.1)."""
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
    code, from_a, from_b = chosen
    resumed = None
    if from_b.meaning.half and local.resumption is not None:
        resumed = Resumed(local.resumption, (from_b if role is EnoRole.A else from_a).meaning.nonce)
    tep_byte = from_b.suboption.tep_byte
    return Negotiated(code, tep_byte, role, remote.application_aware, a.raw + b.raw, resumed)


def _refusal(global_: int, require_aware: bool, remote: SynOption) -> Reason | None:
    """What makes the peer's global suboption incompatible with ours (RFC 8547 section 4.6)."""
    if bool(global_ & PASSIVE_ROLE) == remote.passive_role:
        return Reason.SAME_ROLE
    if require_aware and not remote.application_aware:
        return Reason.NOT_AWARE
    return None


def _last_valid(
    a: SynOption, b: SynOption, resumes: Callable[[Suboption, Suboption], bool]
) -> tuple[int, "_Entry", "_Entry"] | None:
    """The scheme of the negotiated TEP, and host A's and host B's suboption of it (RFC 8547 section 4.5).

    A suboption of B's with data that is no resumption of this session is ignored (RFC 8548 section 3.5), before
    anything else: also one that is too short to name any, which only what host A sends can be. Of the rest, tcpcrypt
    defines no meaning for several with one TEP, which make that TEP invalid. Of several agreements of the experiment's,
    B's first one that A has, too, counts.
    """
    offered = {entry.suboption.tep: entry for entry in _single(a.suboptions)}

    def is_candidate(suboption: Suboption) -> bool:
        meaning = tep.read(suboption)
        if meaning is None or not meaning.half:
            return meaning is not None and not meaning.is_short
        return suboption.tep in offered and resumes(offered[suboption.tep].suboption, suboption)

    for entry in reversed(_single(list(filter(is_candidate, b.suboptions)))):
        from_a = offered.get(entry.suboption.tep)
        if from_a is not None:
            for code in entry.meaning.codes:
                if code in from_a.meaning.codes:
                    return code, from_a, entry
    return None


class _Entry(NamedTuple):
    suboption: Suboption
    meaning: Meaning


def _single(suboptions: Sequence[Suboption]) -> list[_Entry]:
    """The valid suboptions whose TEP no other has. Those of other experiments are no matter of ours."""
    entries = [(each, tep.read(each)) for each in suboptions]
    teps = [each.tep for each, meaning in entries if meaning is not None or each.tep != EXPERIMENTAL_TEP]
    return [_Entry(each, meaning) for each, meaning in entries if meaning is not None and teps.count(each.tep) == 1]


def _resumes(local: Offer, role: EnoRole, from_a: Suboption, from_b: Suboption) -> bool:
    """Both hosts named the session that this host has in mind (RFC 8548 section 3.5)."""
    sent, received = (from_a, from_b) if role is EnoRole.A else (from_b, from_a)
    resumption = local.resumption
    return resumption is not None and sent == resumption.suboption and resumption.is_named_by(received)


def choose(
    received: SynOption,
    codes: Sequence[int],
    find_session: Callable[[int, bytes], Resumption | None],
    *,
    aware: bool = False,
    require_aware: bool = False,
    space: int = options.MAX_LENGTH,
) -> Offer | NotNegotiated:
    """The answer of a passive opener: only the TEP that it wants, with b = 1 (RFC 8547 4.2 and 4.5, RFC 8548 3.2).

    A session that is offered and found is resumed before any key exchange, in the order of `codes`; of several schemes
    that both ends have, the first of `codes` is taken whose answer fits. `negotiate` gives the result for the answer.

    Args:
        received: The option of the peer's SYN.
        codes: Of schemes, best first.
        find_session: Takes a scheme's code and what the peer sent of its half of a resumption identifier; gives a
            session of that scheme whose other half is the local one and whose secret has not been used.
        aware: Bit a; `require_aware` sets it, too.
        require_aware: Mandatory application-aware mode.
        space: Bytes for the whole option. A resumption that does not fit becomes a key exchange.
    """
    global_ = global_suboption(passive_role=True, aware=aware or require_aware)
    refusal = _refusal(global_, require_aware, received)
    if refusal is not None:
        return NotNegotiated(refusal)
    offered = _single(received.suboptions)
    wanted = [(code, entry) for code in codes for entry in offered if code in entry.meaning.codes]
    if not wanted:
        return NotNegotiated(Reason.VACUOUS if received.is_vacuous else Reason.NO_COMMON_TEP)
    for code, (suboption, meaning) in wanted:
        resumption = find_session(code, meaning.half) if meaning.half else None
        if resumption is not None and resumption.is_named_by(suboption):
            answer = fitting(global_, (), resumption.suboption, space=space)
            if answer is not None:
                return Offer(answer, resumption, require_aware)
    for code, _ in wanted:
        answer = fitting(global_, (), tep.answering(code), space=space)
        if answer is not None:
            return Offer(answer, None, require_aware)
    return NotNegotiated(Reason.NO_SPACE)
