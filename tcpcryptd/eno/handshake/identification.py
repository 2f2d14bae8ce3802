"""Who the hosts are: the proofs in Init1 and Init2 (docs/identity.md)."""

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Final

from tcpcryptd.core.protocol import ABSENT, ConnectionHandle, PeerIdentity
from tcpcryptd.eno.constants import IDENTITY
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.negotiation import Negotiated
from tcpcryptd.eno.role import EnoRole
from tcpcryptd.identity.proof import Part, Role

PROTOCOL: Final = b"eno"

_ROLES: Final = {EnoRole.A: Role.INITIATOR, EnoRole.B: Role.RESPONDER}


def with_proof(
    context: HandshakeContext,
    negotiated: Negotiated,
    encode: Callable[[Mapping[int, bytes] | None], bytes],
    other: bytes = b"",
) -> bytes:
    """An Init message of this host's with its proof, if it has an identity and the TEP has a place for one.

    Args:
        context: The connection.
        negotiated: The result of both SYNs.
        encode: Makes the message with extensions.
        other: Init1 when the message is Init2, else empty.
    """
    if not context.scheme(negotiated.code).is_extensible:
        return encode(None)
    authenticator = context.config.authenticator
    key = authenticator.host_key if authenticator is not None else None
    if key is None:
        return encode({})
    unsigned = encode({IDENTITY: key.unsigned})
    part = Part(PROTOCOL, _ROLES[negotiated.role], negotiated.transcript, unsigned, other)
    return encode({IDENTITY: key.prove(part)})


def identify(
    context: HandshakeContext,
    negotiated: Negotiated,
    extensions: Mapping[int, bytes] | None,
    message: bytes,
    other: bytes = b"",
) -> bool:
    """Judges the sender of an Init message by the proof in it; False: it is refused, and the connection was reset."""
    connection, authenticator = context.connection, context.config.authenticator
    identity = ABSENT
    if authenticator is not None:
        role = EnoRole.B if negotiated.role is EnoRole.A else EnoRole.A
        identity = authenticator.identify(
            address(connection),
            connection.peer_port,
            (extensions or {}).get(IDENTITY),
            Part(PROTOCOL, _ROLES[role], negotiated.transcript, message, other),
            may_learn=not connection.must_authenticate,
        )
        connection.identity = identity
    if identity.suits(must_authenticate=connection.must_authenticate):
        return True
    connection.refuse(identity.reason)
    return False


def recall(context: HandshakeContext, token: bytes) -> PeerIdentity | None:
    """Who a peer is that has proved earlier what a token stands for; None: no session may be resumed with it."""
    connection, authenticator = context.connection, context.config.authenticator
    identity: PeerIdentity | None = ABSENT
    if authenticator is not None:
        identity = authenticator.recall(address(connection), connection.peer_port, token)
    suits = identity is not None and identity.suits(must_authenticate=connection.must_authenticate)
    return identity if suits else None


def address(connection: ConnectionHandle) -> str:
    """The peer's, as the kernel spells it."""
    return str(ip_address(connection.peer_address))
