"""Changes of a SYN on its way in and out (RFC 8547 section 4.7; docs/eno.md#handshake)."""

from tcpcryptd.eno.constants import ENO, OVERHEAD
from tcpcryptd.wire import options
from tcpcryptd.wire.fast_open import is_fast_open, without_fast_open
from tcpcryptd.wire.segment import Segment
from tcpcryptd.wire.syn import LOCAL_MAX_MSS, clamped_mss, classic_ecn, lowered_mss


def room_for_eno(syn: Segment) -> bytes:
    """The options of a local SYN or SYN ACK without padding, which a resumption suboption has no room beside.

    Nor is there a Fast Open option: a SYN with an ENO option must have neither data nor a cookie (RFC 8547 section
    4.7); without them the kernel sends the data again behind the handshake.
    """
    return b"".join(options.encode(*each) for each in syn.options if each[0] != ENO and not is_fast_open(each))


def with_eno(syn: Segment, eno: bytes) -> bytes | None:
    """A local SYN or SYN ACK with this ENO option, and without data; None: there is no space for it."""
    mss = clamped_mss(syn)
    own = room_for_eno(syn)
    area = options.pad((own if mss is None else options.replace(own, {options.MSS: mss})) + eno)
    return syn.edited(option_area=area, payload=b"") if len(area) <= options.MAX_LENGTH else None


def for_local_kernel(syn: Segment, max_mss: int = LOCAL_MAX_MSS, window: int = 0) -> bytes:
    """The peer's SYN as the local kernel may see it.

    No data, no Fast Open, window 0, no AccECN, and room in each segment for a frame.
    """
    mss = lowered_mss(syn, max_mss, OVERHEAD)
    area = options.pad(without_fast_open(syn))
    if mss is not None:
        area = options.replace(area, {options.MSS: mss})
    return syn.edited(flags=classic_ecn(syn), reserved=0, window=window, option_area=area, payload=b"")
