"""TCP Fast Open's options (RFC 7413). A SYN with an option of ours has none of them, in either direction.

Such a SYN has no data, so a cookie could only make the server's kernel accept the connection before the handshake; what
asks for one would fill the SYN ACK with it, and the next SYN with data that is cut off again. The sender's kernel takes
the server for one without Fast Open, and sends the data when the SYN ACK has come.
"""

from typing import Final

from tcpcryptd.wire import options
from tcpcryptd.wire.options import Option
from tcpcryptd.wire.segment import Segment

FAST_OPEN: Final = 34
"""TCP option kind of the cookie, empty in a request for one (RFC 7413 section 4.1.1)."""
EXPERIMENT: Final = 254
"""TCP option kind that Fast Open had before (RFC 7413 section 9; RFC 6994)."""
FAST_OPEN_EXPERIMENT: Final = b"\xf9\x89"
"""Its experiment identifier."""


def is_fast_open(option: Option) -> bool:
    """A Fast Open option, with a cookie or without."""
    kind, value = option
    return kind == FAST_OPEN or (kind == EXPERIMENT and value.startswith(FAST_OPEN_EXPERIMENT))


def without_fast_open(syn: Segment) -> bytes:
    """The option area of a SYN or SYN ACK; it is not padded when something was taken out."""
    kept = [each for each in syn.options if not is_fast_open(each)]
    return syn.option_area if len(kept) == len(syn.options) else b"".join(options.encode(*each) for each in kept)
