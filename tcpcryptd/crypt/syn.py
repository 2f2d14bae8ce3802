"""What a SYN becomes on its way in and out (spec sections 3 and 11)."""

from tcpcryptd.crypt.constants import MSS_REDUCTION
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import Segment
from tcpcryptd.wire.syn import MAX_MSS, lowered_mss


def without_sack(option_area: bytes) -> bytes:
    """A SYN's option area with SACK-permitted blanked (spec section 11)."""
    return options.replace(option_area, {options.SACK_PERMITTED: None})


def for_local_kernel(syn: Segment, max_mss: int = MAX_MSS, window: int = 0) -> bytes:
    """A SYN of the peer's as the local kernel may see it: window 0, no SACK, MSS lowered (spec sections 3 and 11)."""
    edits: dict[int, bytes | None] = {options.SACK_PERMITTED: None}
    mss = lowered_mss(syn, max_mss, MSS_REDUCTION)
    if mss is not None:
        edits[options.MSS] = mss
    return syn.edited(window=window, option_area=options.replace(syn.option_area, edits), payload=b"")
