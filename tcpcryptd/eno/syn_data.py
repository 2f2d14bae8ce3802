"""Data in SYN segments with an ENO option (RFC 8547 section 4.7). tcpcrypt's TEPs define no use of such data."""

from collections.abc import Iterable

from tcpcryptd.eno import option
from tcpcryptd.eno.constants import EXPERIMENT, FAST_OPEN, FAST_OPEN_EXPERIMENT
from tcpcryptd.eno.negotiation import Negotiated, NotNegotiated
from tcpcryptd.eno.option import SynOption
from tcpcryptd.wire.options import Option

_NO_TEP = frozenset[int]()


def has_fast_open_cookie(option_list: Iterable[Option]) -> bool:
    """A SYN's Fast Open option is not empty, so that the SYN must not have an ENO option."""
    return any(
        (kind == FAST_OPEN and value)
        or (kind == EXPERIMENT and value.startswith(FAST_OPEN_EXPERIMENT) and value != FAST_OPEN_EXPERIMENT)
        for kind, value in option_list
    )


def may_offer(option_list: Iterable[Option], payload_length: int) -> bool:
    """A local SYN may be given an ENO option: it has no data, whose meaning no TEP of ours defines, and no cookie.

    `option_list` is what the kernel put into the SYN, `payload_length` is in bytes.
    """
    return not payload_length and not has_fast_open_cookie(option_list)


def discard_syn_data(
    option_list: Iterable[Option],
    outcome: Negotiated | NotNegotiated,
    defined: frozenset[int] = _NO_TEP,
) -> bool:
    """The data in a received SYN must not be delivered nor acknowledged.

    Args:
        option_list: The SYN's options. Without an ENO option the rule does not apply; several, or one that is
            ill-formed, are no reason to keep the data.
        outcome: Of the negotiation, also when ENO is disabled by configuration.
        defined: TEP identifiers whose specification defines the use of data in SYNs; none of tcpcrypt's does.
    """
    option_list = list(option_list)
    if not option.is_present(option_list):
        return False
    found = option.read(option_list)
    if found is None or isinstance(outcome, NotNegotiated) or has_fast_open_cookie(option_list):
        return True
    return found.syn_tep != outcome.tep or outcome.tep not in defined


def must_abort(
    sent: SynOption,
    outcome: Negotiated | NotNegotiated,
    *,
    acknowledged: bool,
    answered: bool,
) -> bool:
    """A host that sent data in a SYN with an ENO option must abort the connection.

    Args:
        sent: The option of the host's SYN.
        outcome: Of the negotiation.
        acknowledged: The peer has acknowledged some of the data.
        answered: The peer's SYN ACK has an ENO option; True also for a SYN ACK's own data, which has no answer.
    """
    if not answered:
        return True
    return acknowledged and (isinstance(outcome, NotNegotiated) or sent.syn_tep != outcome.tep)
