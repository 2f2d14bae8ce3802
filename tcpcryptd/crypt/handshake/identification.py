"""Proofs of identity in INIT1 and INIT2: who accepts them, their size, the bytes that they cover (docs/identity.md).

A PKCONF of a host with identities ends with a spec that is no mechanism: `EXTENSIONS`, and in 2 bytes how long the
extension field of its INIT2 will be. INIT1 with such a field, which may be empty, asks for one in INIT2.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tcpcryptd.core.protocol import ABSENT, Outcome, PeerIdentity
from tcpcryptd.crypt.constants import EXTENSIONS
from tcpcryptd.crypt.handshake.context import Fields, HandshakeContext
from tcpcryptd.identity import identification
from tcpcryptd.identity.authenticator import forged
from tcpcryptd.identity.identification import IDENTITY
from tcpcryptd.identity.proof import Part, Role
from tcpcryptd.wire import extension
from tcpcryptd.wire.extension import ExtensionError
from tcpcryptd.wire.reader import Reader

PROTOCOL: Final = b"crypt"

NO_EXTENSIONS: Final = extension.encode({})
"""An empty field."""

_KNOWN: Final = frozenset((IDENTITY,))
_LEFT_OUT: Final = PeerIdentity(Outcome.ABSENT, reason="there is no room for proofs of identity in a segment")


def own_length(context: HandshakeContext) -> int:
    """Bytes of the field in this host's message."""
    authenticator = context.config.authenticator
    key = authenticator.host_key if authenticator is not None else None
    return len(NO_EXTENSIONS if key is None else extension.encode({IDENTITY: key.unsigned}))


def spec(context: HandshakeContext) -> bytes:
    """What stands at the end of this host's PKCONF; empty when it asks for no proofs."""
    if context.config.authenticator is None:
        return b""
    return bytes((EXTENSIONS,)) + own_length(context).to_bytes(2, "big")


def needed_fields(context: HandshakeContext, specs: Sequence[bytes]) -> Fields | None:
    """What INIT1 and INIT2 take for proofs when the server's PKCONF has these specs; None: there are none in them."""
    theirs = next((each for each in specs if each[0] == EXTENSIONS), None)
    if theirs is None or context.config.authenticator is None:
        return None
    return own_length(context), int.from_bytes(theirs[1:], "big")


def with_proof(context: HandshakeContext, role: Role, encode: Callable[[bytes], bytes], other: bytes = b"") -> bytes:
    """This host's message with its proof, if it has an identity.

    Args:
        context: The connection.
        role: This host's.
        encode: Makes the message with an extension field.
        other: INIT1 when the message is INIT2, else empty.
    """

    def with_items(items: Mapping[int, bytes]) -> bytes:
        return encode(extension.encode(items))

    part = Part(PROTOCOL, role, context.transcript, b"", other)
    return identification.with_proof(context.config.authenticator, part, with_items)


def identify(context: HandshakeContext, role: Role, field: bytes, message: bytes, other: bytes = b"") -> bool:
    """Judges the peer, which has this role, by its message; False: it is refused, and the connection was reset."""
    items = _items(context, field)
    if items is None:
        return False
    part = Part(PROTOCOL, role, context.transcript, message, other)
    return identification.identify(context.connection, context.config.authenticator, part, items)


def judge(context: HandshakeContext, field: bytes, init1: bytes) -> Callable[[], PeerIdentity] | None:
    """What judges the client by INIT1 while INIT2 travels; None: it is refused, and the connection was reset."""
    items = _items(context, field)
    if items is None:
        return None
    part = Part(PROTOCOL, Role.INITIATOR, context.transcript, init1)
    return identification.judge(context.connection, context.config.authenticator, part, items)


def _items(context: HandshakeContext, field: bytes) -> Mapping[int, bytes] | None:
    """What is in an extension field; None: it cannot be read, and the peer was refused."""
    try:
        return extension.read(Reader(field), _KNOWN) if field else {}
    except ExtensionError as error:
        context.connection.identity = forged(error)
        identification.accept(context.connection, context.connection.identity)
        return None


def leave_out(context: HandshakeContext, *, for_size: bool) -> str:
    """The messages go without proofs, for lack of room or because the peer takes none: the reason why it is nobody."""
    identity = _LEFT_OUT if for_size else ABSENT
    if context.config.authenticator is not None:
        context.connection.identity = identity
    return identity.reason
