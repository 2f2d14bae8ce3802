"""What the handshake passes on to the stream."""

from functools import partial

from tcpcryptd.crypto import tcpcrypt_schedule as schedule
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.key_log import ConnectionKeyLog
from tcpcryptd.eno.handshake.negotiation import Negotiated
from tcpcryptd.eno.handshake.resumption import remember
from tcpcryptd.eno.handshake.session import SessionSecret
from tcpcryptd.eno.role import EnoRole
from tcpcryptd.eno.stream.channel import Channel
from tcpcryptd.eno.stream.flow import Flow
from tcpcryptd.eno.stream.init_transmission import InitTransmission
from tcpcryptd.eno.stream.session import GenerationKeys, Session


def session_of(context: HandshakeContext, secret: SessionSecret, negotiated: Negotiated) -> Session:
    """The session that a secret gives a connection."""
    key_log = context.config.key_log
    log_keys = ConnectionKeyLog(key_log, context, secret, negotiated).add if key_log is not None else None
    nonce = negotiated.resumed.session_nonce if negotiated.resumed is not None else b""
    master = schedule.first_master_key(secret.prf, nonce)
    a_to_b, b_to_a = (GenerationKeys(master, secret.aead, direction, log_keys) for direction in (0, 1))
    outbound, inbound = (a_to_b, b_to_a) if secret.original_role is EnoRole.A else (b_to_a, a_to_b)
    return Session(
        schedule.session_id(negotiated.tep_byte, secret.prf, nonce),
        negotiated.role,
        secret.scheme,
        secret.aead,
        negotiated.resumed is not None,
        negotiated.peer_aware,
        context.classical,
        outbound,
        inbound,
    )


def open_channel(
    context: HandshakeContext,
    secret: SessionSecret,
    negotiated: Negotiated,
    now: float,
    *,
    sent: int = 0,
    received: int = 0,
    init2: InitTransmission | None = None,
) -> Channel:
    """The channel of a connection that has keys now; `sent`, `received`: bytes of Init messages.

    `init2`: has gone out at `now`, and no kernel stands behind it; the peer has the keys when it acknowledges it.
    """
    connection, config = context.connection, context.config
    session = session_of(context, secret, negotiated)
    flow = Flow(connection, context.ends, session, config.limits, context.sack, sent, received)
    keep = None
    if context.best_is_offered or session.resumed:
        keep = partial(remember, connection, secret.following)
    authenticator = config.authenticator
    proves = secret.scheme.is_extensible and authenticator is not None and authenticator.host_key is not None
    channel = Channel(flow, session, keep, config.cutting, proves=proves)
    channel.begin(init2, now)
    return channel
