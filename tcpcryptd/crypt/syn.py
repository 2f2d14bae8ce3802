"""Changes of a SYN on its way in and out (docs/crypt-option.md sections 3 and 11)."""

from tcpcryptd.crypt.constants import MSS_REDUCTION
from tcpcryptd.wire import options
from tcpcryptd.wire.fast_open import without_fast_open
from tcpcryptd.wire.segment import Segment
from tcpcryptd.wire.syn import LOCAL_MAX_MSS, clamped_mss, classic_ecn, lowered_mss


def kept_options(syn: Segment, *, keeps_sack: bool) -> bytes:
    """A local SYN's option area, not padded, without Fast Open (docs/crypt-option.md sections 11 and 13).

    The MSS is one that a queue can carry.
    """
    edits: dict[int, bytes | None] = {} if keeps_sack else {options.SACK_PERMITTED: None}
    mss = clamped_mss(syn)
    if mss is not None:
        edits[options.MSS] = mss
    return options.replace(without_fast_open(syn), edits)


def for_local_kernel(syn: Segment, max_mss: int = LOCAL_MAX_MSS, window: int = 0, *, keeps_sack: bool = False) -> bytes:
    """The peer's SYN as the local kernel may see it (docs/crypt-option.md sections 3 and 11).

    Window 0, no Fast Open, no AccECN, MSS lowered, and no SACK unless it may be kept.
    """
    edits: dict[int, bytes | None] = {} if keeps_sack else {options.SACK_PERMITTED: None}
    mss = lowered_mss(syn, max_mss, MSS_REDUCTION)
    if mss is not None:
        edits[options.MSS] = mss
    area = options.pad(options.replace(without_fast_open(syn), edits))
    return syn.edited(flags=classic_ecn(syn), reserved=0, window=window, option_area=area, payload=b"")
