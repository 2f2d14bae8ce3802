"""What a host that opened the connection does once an ACK with an ENO option went each way (RFC 8547 section 4.6)."""

from tcpcryptd.core.handshake import KeysDue
from tcpcryptd.core.protocol import ConnectionClass, Verdict, modify
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.exchange import AwaitInit1, InitSent
from tcpcryptd.eno.handshake.negotiation import Negotiated
from tcpcryptd.eno.handshake.opened import open_channel
from tcpcryptd.eno.handshake.session import SessionSecret
from tcpcryptd.eno.role import EnoRole
from tcpcryptd.eno.syn import for_local_kernel
from tcpcryptd.wire.segment import SYN, Segment


def enable(
    context: HandshakeContext,
    negotiated: Negotiated,
    secret: SessionSecret | None,
    segment: Segment,
    now: float,
    *,
    at_once: bool = False,
) -> Verdict:
    """The next state takes over; the verdict on the peer's SYN ACK, or on its ACK of ours.

    Args:
        context: The connection.
        negotiated: The result of both SYNs.
        secret: Of the session that is resumed; None: a key exchange.
        segment: The segment with the peer's ENO option.
        now: Seconds.
        at_once: Init1 does not wait for an ACK of the local kernel's, which may have sent it.
    """
    is_syn = bool(segment.flags & SYN)
    if secret is not None:
        if not is_syn:
            channel = open_channel(context, secret, negotiated, now)
            return channel.inbound(segment.packet, segment.offset, now)
        context.connection.connection_class = ConnectionClass.STREAM
        KeysDue(context.connection, lambda: open_channel(context, secret, negotiated, now)).take_over(now)
    elif negotiated.role is EnoRole.B:
        waiting = AwaitInit1(context, negotiated, heard=not is_syn)
        waiting.take_over(now)
        if not is_syn:
            return waiting.inbound(segment.packet, segment.offset, now)
    else:
        sending = InitSent(context, negotiated)
        sending.take_over()
        if at_once:
            sending.begin(now)
        if not is_syn:
            return sending.unpayloaded(segment, 0)
    window = segment.window if secret is not None else 0
    opened = for_local_kernel(segment, context.ends.local.mss, window=window)
    return modify(opened, context.connection.connection_class)
