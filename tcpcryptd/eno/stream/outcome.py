"""The results of a segment from the wire."""

from enum import Enum

from tcpcryptd.eno.stream.delivery import Delivery


class Outcome(Enum):
    """The result of a segment. Deliveries must be passed on, whatever it is."""

    DELIVERED = "new plaintext, or the end of the stream"
    REPEATED = "nothing new; the kernel has not acknowledged this plaintext yet"
    EMPTY = "frames without data alone: no kernel acknowledges them"
    HELD = "in order; the frame is not complete"
    OUT_OF_ORDER = "held behind a hole or in one, or held already: to be acknowledged at once, with sack_blocks()"
    OUTDATED = "nothing that the kernel has not acknowledged: to be acknowledged again"
    REFUSED = "not kept, at a bound"
    FAILED = "a frame is not authentic: all that was held is discarded, the peer can send it again"
    DAMAGED = "the same, but a part of it is acknowledged, so that nobody sends it again"
    TRUNCATED = "FIN came where no frame with FINp has ended (RFC 8548, section 3.7)"
    INVALID = "an authentic frame breaks the protocol"


Received = tuple[Outcome, list[Delivery]]
"""The result of `InboundStream.receive`. In order; what the kernel has not acknowledged may be repeated first."""
