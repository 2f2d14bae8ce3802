"""Data in SYN segments with an ENO option (RFC 8547 section 4.7).

tcpcrypt's TEPs define no use of such data: this host sends none beside an ENO option, and discards what it receives,
whatever is negotiated. Nothing of it is acknowledged, since no kernel sees it: the sender's sends it again.
"""

from collections.abc import Iterable

from tcpcryptd.eno.constants import ENO
from tcpcryptd.wire.options import Option
from tcpcryptd.wire.segment import Segment


def discards_data(option_list: Iterable[Option]) -> bool:
    """The data of a received SYN with these options must not be delivered, also when ENO is disabled or has failed.

    Several ENO options, and one that is ill-formed, are no reason to keep it.
    """
    return any(kind == ENO for kind, _ in option_list)


def without_data(syn: Segment) -> bytes | None:
    """A received SYN or SYN ACK without the data that must be discarded; None: it has none."""
    return syn.edited(payload=b"") if syn.payload_length and discards_data(syn.options) else None
