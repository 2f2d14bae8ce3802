"""The bytes that proofs of identity in Init1 and Init2 cover (docs/identity.md)."""

from collections.abc import Callable, Mapping
from typing import Final

from tcpcryptd.core.protocol import PeerIdentity
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.negotiation import Negotiated
from tcpcryptd.eno.role import EnoRole
from tcpcryptd.identity import identification
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
    part = Part(PROTOCOL, _ROLES[negotiated.role], negotiated.transcript, b"", other)
    return identification.with_proof(context.config.authenticator, part, encode)


def identify(
    context: HandshakeContext,
    negotiated: Negotiated,
    extensions: Mapping[int, bytes] | None,
    init2: bytes,
    init1: bytes,
) -> bool:
    """Judges host B by the proof in Init2; False: it is refused, and the connection was reset."""
    part = Part(PROTOCOL, Role.RESPONDER, negotiated.transcript, init2, init1)
    return identification.identify(context.connection, context.config.authenticator, part, extensions or {})


def judge(
    context: HandshakeContext, negotiated: Negotiated, extensions: Mapping[int, bytes] | None, init1: bytes
) -> Callable[[], PeerIdentity] | None:
    """What judges host A by Init1 while Init2 travels; None: it is refused, and the connection was reset."""
    part = Part(PROTOCOL, Role.INITIATOR, negotiated.transcript, init1)
    return identification.judge(context.connection, context.config.authenticator, part, extensions or {})
