"""What a SYN becomes on its way in and out (spec sections 3 and 11)."""

import struct

from tcpcryptd.crypt.constants import MSS_REDUCTION
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import Segment

_MSS = struct.Struct(">H")
_SIGNED = frozenset((options.MD5_SIGNATURE, options.TCP_AO, options.MPTCP))
_MAX_MSS = 65_491
"""A full packet then is no longer than what a queue carries (design notes, section 3)."""


def refusal(syn: Segment) -> str | None:
    """Why a connection with this SYN is left alone; None: it is not."""
    if any(kind in _SIGNED for kind, _ in syn.options):
        return "the connection uses MD5 signatures, TCP-AO or MPTCP"
    if not syn.options and any(syn.option_area):
        try:
            options.parse(syn.option_area)
        except options.OptionError:
            return "the SYN's options are malformed"
    return None


def without_sack(option_area: bytes) -> bytes:
    """A SYN's option area with SACK-permitted blanked (spec section 11)."""
    return options.replace(option_area, {options.SACK_PERMITTED: None})


def for_local_kernel(syn: Segment, max_mss: int = _MAX_MSS, window: int = 0) -> bytes:
    """A SYN of the peer's as the local kernel may see it: window 0, no SACK, MSS lowered (spec sections 3 and 11)."""
    edits: dict[int, bytes | None] = {options.SACK_PERMITTED: None}
    mss = syn.option(options.MSS)
    if mss is not None and len(mss) == 2:
        edits[options.MSS] = _MSS.pack(max(min(_MSS.unpack(mss)[0], max_mss, _MAX_MSS) - MSS_REDUCTION, 1))
    return syn.edited(window=window, option_area=options.replace(syn.option_area, edits), payload=b"")
